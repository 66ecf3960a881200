"""The cut inside Qwen2.5-VL's tower: what goes on, what is made up for, and that nothing else changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cases import LANDSCAPE, PORTRAIT, SQUARE, STRIP, Case, picture
from engines import TOKENS, ask, cached, operated_with, same_answer
from recording import recorded_selections
from reference import Reference
from sppruner_vllm.demo.forward import encode
from sppruner_vllm.planning.smaller import Grid
from sppruner_vllm.reduction.survivors import Survivors
from sppruner_vllm.wire import StageOrder
from towers import BEHIND, EVERYTHING, NOTHING, QUESTION, RATIO, StagedReference, alone, cut, far, parts_of, upstream_of

SIZES = (SQUARE, PORTRAIT, LANDSCAPE, STRIP)
PICTURES = [picture(size, 870 + seed) for seed, size in enumerate(SIZES)]


def tokens(grids: list[Grid]) -> list[int]:
    return [height * width for height, width in grids]


def encoded(model: Any, inputs: dict[str, Any], cuts: list[StageOrder | None], wanted: frozenset[str] = NOTHING) -> Any:
    (part,) = parts_of(model, inputs, [[one] if one else [] for one in cuts], wanted)
    return part


@pytest.fixture(scope="module")
def halves(model: Any, inputs: dict[str, Any], grids: list[Grid]) -> Any:
    return encoded(model, inputs, [cut(size // 2) for size in tokens(grids)], EVERYTHING)


def test_an_uncut_picture_is_upstreams_bit_for_bit_also_beside_cut_ones(
    model: Any, inputs: dict[str, Any], grids: list[Grid], whole: Any
) -> None:
    upstream = upstream_of(model)
    with torch.inference_mode():
        theirs = upstream.embed_multimodal(model, **inputs)
        pair = upstream.embed_multimodal(
            model,
            pixel_values=torch.cat([alone(inputs, index)["pixel_values"] for index in (0, 2)]),
            image_grid_thw=inputs["image_grid_thw"][[0, 2]],
        )
    assert all(torch.equal(one, other) for one, other in zip(theirs, whole.rows, strict=True))
    mixed = encoded(model, inputs, [None, cut(30), None, cut(20)])
    assert torch.equal(mixed.rows[0], pair[0])
    assert torch.equal(mixed.rows[2], pair[1])


def test_a_cut_that_drops_nothing_is_the_whole_tower(
    model: Any, inputs: dict[str, Any], grids: list[Grid], whole: Any
) -> None:
    part = encoded(model, inputs, [cut(size) for size in tokens(grids)], EVERYTHING)
    for name in EVERYTHING:
        for one, other in zip(getattr(part.tapped, name), getattr(whole.tapped, name), strict=True):
            assert torch.allclose(one, other, atol=1e-4)
    assert all(torch.allclose(one, other, atol=1e-4) for one, other in zip(part.rows, whole.rows, strict=True))


def test_every_token_has_its_row_and_survivors_and_dropped_ones_stay_near_it(
    grids: list[Grid], whole: Any, halves: Any
) -> None:
    assert [len(rows) for rows in halves.rows] == tokens(grids)
    for one, other in zip(halves.rows, whole.rows, strict=True):
        assert torch.isfinite(one).all()
        assert 1e-3 < far(one, other) < 0.5


def test_dropped_tokens_that_are_made_up_for_are_nearer_to_what_they_would_be(
    model: Any, inputs: dict[str, Any], grids: list[Grid], whole: Any, halves: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forgotten(self: Survivors, start: Tensor, now: Tensor) -> Tensor:
        return start.clone().index_copy_(0, self.kept, now)

    monkeypatch.setattr(Survivors, "restored", forgotten)
    plain = encoded(model, inputs, [cut(size // 2) for size in tokens(grids)])
    for made_up, left, full in zip(halves.rows, plain.rows, whole.rows, strict=True):
        assert far(made_up, full) < far(left, full)


def test_company_changes_nothing(model: Any, inputs: dict[str, Any], grids: list[Grid], halves: Any) -> None:
    for index, size in enumerate(tokens(grids)):
        part = encoded(model, alone(inputs, index), [cut(size // 2)], EVERYTHING)
        assert torch.allclose(part.rows[0], halves.rows[index], atol=1e-4)
        assert torch.allclose(part.tapped.attention[0], halves.tapped.attention[index], atol=1e-6)


def test_micro_batches_change_nothing(model: Any, inputs: dict[str, Any], grids: list[Grid]) -> None:
    cuts: list[StageOrder | None] = [cut(60), None, cut(40), cut(20)]
    together = encoded(model, inputs, cuts, EVERYTHING)
    parts = parts_of(model, inputs, [[one] if one else [] for one in cuts], EVERYTHING, budget=170)
    assert len(parts) > 1
    rows = [row for part in parts for row in part.rows]
    assert all(torch.allclose(one, other, atol=1e-4) for one, other in zip(rows, together.rows, strict=True))
    for name in EVERYTHING:
        pieces = [heard for part in parts for heard in getattr(part.tapped, name)]
        for one, other in zip(pieces, getattr(together.tapped, name), strict=True):
            assert torch.allclose(one, other, atol=1e-4)


def test_behind_a_cut_all_tokens_are_heard_as_they_are_by_then(model: Any, grids: list[Grid], halves: Any) -> None:
    assert [len(mass) for mass in halves.tapped.attention] == tokens(grids)
    assert all(float(mass.sum()) == pytest.approx(1, abs=1e-4) for mass in halves.tapped.attention)
    with torch.inference_mode():
        for image, rows in zip(halves.tapped.merger_input, halves.rows, strict=True):
            patches = image.view(-1, model.visual.hidden_size)
            assert torch.allclose(model.visual.merger(patches), rows, atol=1e-4)


def test_the_evaluations_own_forward_gives_the_same_rows(
    model: Any, reference: Reference, inputs: dict[str, Any], grids: list[Grid], halves: Any
) -> None:
    for index, size in enumerate(tokens(grids)):
        pixels = torch.from_numpy(np.array(PICTURES[index])).permute(2, 0, 1).unsqueeze(0)
        heard: list[Tensor] = []
        with torch.inference_mode():
            (rows,) = encode(reference.model.model.visual, pixels, heard, (BEHIND, size // 2))
        assert torch.allclose(rows, halves.rows[index], rtol=1e-3, atol=1e-3)
        assert torch.allclose(heard[0][0], halves.tapped.attention[index], atol=1e-5)


# Whole requests


@pytest.fixture
def cutting() -> Iterator[None]:
    """The operator cuts at twice the budget; the engine that runs already plans so from here on."""
    with operated_with(ENCODER_CUT="2", ENCODER_CUT_BLOCK=str(BEHIND)):
        yield


@pytest.mark.usefixtures("cutting")
def test_a_cut_request_keeps_its_budget_at_its_places_and_answers_from_the_cut_rows(
    llm: Any, model: Any, tiny_model: Path
) -> None:
    case = Case(((QUESTION, (SQUARE,)),), 880)
    with recorded_selections() as kept:
        (answer,) = ask(llm, [case], RATIO)
    assert [len(image) for image in kept] == [32]
    expected, logits = StagedReference(tiny_model, model, cut(64)).answer(case, kept, TOKENS)
    same_answer(answer, expected, logits)
    uncut, _ = Reference(tiny_model).answer(case, kept, TOKENS)
    assert uncut != expected, "else this says nothing"


def test_cut_rows_are_reused_by_their_own_request_alone(llm: Any) -> None:
    case = Case(((QUESTION, (SQUARE,)),), 881)
    ask(llm, [case], RATIO)
    with operated_with(ENCODER_CUT="2", ENCODER_CUT_BLOCK=str(BEHIND)):
        assert cached(ask(llm, [case], RATIO)) == 0, "uncut rows"
        assert cached(ask(llm, [case], RATIO)) > 0
        assert cached(ask(llm, [case], 0.25)) == 0, "other survivors"
    with operated_with(ENCODER_CUT="3", ENCODER_CUT_BLOCK=str(BEHIND)):
        assert cached(ask(llm, [case], RATIO)) == 0, "more survivors"
    with operated_with(ENCODER_CUT="2", ENCODER_CUT_BLOCK="0"):
        assert cached(ask(llm, [case], RATIO)) == 0, "another block"
    assert cached(ask(llm, [case], RATIO)) > 0
