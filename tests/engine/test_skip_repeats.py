"""Tokens with equal pixels skip most of Qwen2.5-VL's tower: which ones, and what becomes of them and of the others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cases import SQUARE, Mixed, page, picture
from engines import TOKENS, ask, cached, encoder_runs, operated_with, same_answer
from recording import recorded_selections
from reference import Reference
from sppruner_vllm.demo.forward import encode
from sppruner_vllm.metrics import families
from sppruner_vllm.wire import StageOrder
from towers import BEHIND, EVERYTHING, NOTHING, QUESTION, RATIO, StagedReference, alone, cut, far, parts_of, upstream_of

CELL = 28
WINDOW = 4 * CELL
SKIP = StageOrder("entry", "repeats", 4096)
"""The budget is a bound that says nothing here."""


PLAIN = picture(SQUARE, 950)
FLAT = Image.new("RGB", (504, 252), (30, 120, 200))
PAGES = [page(size, 951 + seed) for seed, size in enumerate(((336, 336), (448, 280), (252, 504)))]
PICTURES = [PLAIN, *PAGES, FLAT]


def encoded(model: Any, inputs: dict[str, Any], *stages: StageOrder, wanted: frozenset[str] = NOTHING) -> Any:
    (part,) = parts_of(model, inputs, [stages] * len(inputs["image_grid_thw"]), wanted)
    return part


@pytest.fixture(scope="module")
def skipped(model: Any, inputs: dict[str, Any]) -> Any:
    return encoded(model, inputs, SKIP, wanted=EVERYTHING)


def counted_by_hand(image: Image.Image) -> int:
    """Cells that equal an earlier one of their window."""
    pixels = np.asarray(image)
    found = 0
    for top in range(0, pixels.shape[0], WINDOW):
        for left in range(0, pixels.shape[1], WINDOW):
            window = pixels[top : top + WINDOW, left : left + WINDOW]
            cells = [
                window[row : row + CELL, column : column + CELL].tobytes()
                for row in range(0, window.shape[0], CELL)
                for column in range(0, window.shape[1], CELL)
            ]
            found += len(cells) - len(set(cells))
    return found


def test_repeats_are_the_cells_that_equal_another_of_their_window(model: Any, inputs: dict[str, Any]) -> None:
    before = families.REPEATS.metric._value.get()
    firsts = model.family.cut.repeats(model, inputs)
    found = [0 if first is None else int((first != torch.arange(len(first))).sum()) for first in firsts]
    assert found == [counted_by_hand(image) for image in PICTURES]
    assert firsts[0] is None
    assert all(count > 40 for count in found[1:])
    encoded(model, inputs, SKIP)
    assert families.REPEATS.metric._value.get() - before == sum(found)


def test_one_value_of_one_pixel_makes_another_cell(model: Any, reference: Reference) -> None:
    spoilt = FLAT.copy()
    spoilt.putpixel((3 * CELL, 5), (30, 120, 201))
    (before,), (after,) = (model.family.cut.repeats(model, reference.encoder_inputs([one])) for one in (FLAT, spoilt))
    assert (before != torch.arange(len(before))).sum() - (after != torch.arange(len(after))).sum() == 1


def test_a_picture_without_repeats_is_upstreams_bit_for_bit_also_beside_pages(
    model: Any, inputs: dict[str, Any], skipped: Any
) -> None:
    with torch.inference_mode():
        (theirs,) = upstream_of(model).embed_multimodal(model, **alone(inputs, 0))
    assert torch.equal(encoded(model, alone(inputs, 0), SKIP).rows[0], theirs)
    assert torch.equal(skipped.rows[0], theirs)


def test_a_flat_picture_is_the_whole_towers(whole: Any, skipped: Any) -> None:
    """Within a flat window all is the same whatever stays out; the tiny tower looks at the whole picture only last."""
    assert torch.allclose(skipped.rows[-1], whole.rows[-1], atol=1e-4)


def test_every_token_of_a_page_has_a_row_of_its_own_near_the_whole_towers(whole: Any, skipped: Any) -> None:
    for one, other in zip(skipped.rows[1:-1], whole.rows[1:-1], strict=True):
        assert one.shape == other.shape
        assert torch.isfinite(one).all()
        assert 1e-3 < far(one, other) < 0.5
        assert len(one.unique(dim=0)) == len(one)


def test_all_tokens_are_heard(inputs: dict[str, Any], model: Any, skipped: Any) -> None:
    assert [len(mass) for mass in skipped.tapped.attention] == [len(rows) for rows in skipped.rows]
    assert all(float(mass.sum()) == pytest.approx(1, abs=1e-4) for mass in skipped.tapped.attention)
    with torch.inference_mode():
        for image, rows in zip(skipped.tapped.merger_input, skipped.rows, strict=True):
            assert torch.allclose(model.visual.merger(image.view(-1, model.visual.hidden_size)), rows, atol=1e-4)


def test_company_and_micro_batches_change_nothing(model: Any, inputs: dict[str, Any], skipped: Any) -> None:
    for index, rows in enumerate(skipped.rows):
        assert torch.allclose(encoded(model, alone(inputs, index), SKIP).rows[0], rows, atol=1e-4)
    parts = parts_of(model, inputs, [[SKIP]] * 5, budget=200)
    assert len(parts) > 1
    together = [rows for part in parts for rows in part.rows]
    assert all(torch.allclose(one, other, atol=1e-4) for one, other in zip(together, skipped.rows, strict=True))


def test_a_cut_behind_it_chooses_among_those_that_entered(model: Any, inputs: dict[str, Any], skipped: Any) -> None:
    lavish, narrow = encoded(model, inputs, SKIP, cut(4000)), encoded(model, inputs, SKIP, cut(12))
    pages = slice(1, 4)
    for one, other in zip(lavish.rows[pages], skipped.rows[pages], strict=True):
        assert torch.allclose(one, other, atol=1e-4)
    for one, other in zip(narrow.rows[pages], skipped.rows[pages], strict=True):
        assert 1e-3 < far(one, other) < 0.5


def test_the_evaluations_own_forward_gives_the_same_rows(model: Any, reference: Reference, inputs: Any) -> None:
    for stages, inside in (((SKIP,), None), ((SKIP, cut(12)), (BEHIND, 12))):
        rows = encoded(model, inputs, *stages).rows
        for index in (1, 2, 3):
            pixels = torch.from_numpy(np.array(PICTURES[index])).permute(2, 0, 1).unsqueeze(0)
            with torch.inference_mode():
                (ours,) = encode(reference.model.model.visual, pixels, None, inside, skip_repeats=True)
            assert torch.allclose(ours, rows[index], rtol=1e-3, atol=1e-3)


# Whole requests


@pytest.fixture
def skipping() -> Iterator[None]:
    """The operator lets repeats stay out; the engine that runs already plans so from here on."""
    with operated_with(SKIP_REPEATS="1"):
        yield


@pytest.mark.usefixtures("skipping")
def test_a_page_keeps_its_budget_at_its_places_and_answers_from_the_rows_it_has(
    llm: Any, model: Any, tiny_model: Path
) -> None:
    case = Mixed(((QUESTION, (SQUARE,)),), 960)
    with recorded_selections() as kept, encoder_runs(model) as upstream:
        (answer,) = ask(llm, [case], RATIO)
    assert [len(image) for image in kept] == [32]
    assert upstream == [], "the tower ran otherwise"
    expected, logits = StagedReference(tiny_model, model, SKIP).answer(case, kept, TOKENS)
    same_answer(answer, expected, logits)


def test_a_ratio_of_1_is_left_to_upstream_whatever_repeats(llm: Any, model: Any) -> None:
    case = Mixed(((QUESTION, (SQUARE,)),), 964)
    (usual,) = ask(llm, [case], 1.0)
    llm.reset_prefix_cache()
    llm.llm_engine.reset_encoder_cache()
    with operated_with(SKIP_REPEATS="1"), encoder_runs(model) as upstream:
        (answer,) = ask(llm, [case], 1.0)
    assert upstream == [1]
    assert answer.tokens == usual.tokens
    assert torch.equal(answer.logits, usual.logits)


def test_rows_without_repeats_are_reused_by_their_own_kind_alone(llm: Any, model: Any) -> None:
    case = Mixed(((QUESTION, (SQUARE,)),), 968)
    ask(llm, [case], RATIO)
    before = families.REPEATS.metric._value.get()
    with operated_with(SKIP_REPEATS="1"):
        assert cached(ask(llm, [case], RATIO)) == 0, "rows of the whole tower"
        first = families.REPEATS.metric._value.get()
        assert first > before, "nor its kept rows"
        assert cached(ask(llm, [case], RATIO)) > 0
        assert cached(ask(llm, [case], 0.25)) == 0, "another budget"
        assert families.REPEATS.metric._value.get() == first, "of the same kept rows"
    assert cached(ask(llm, [case], RATIO)) > 0
