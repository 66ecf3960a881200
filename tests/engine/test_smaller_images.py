"""Methods that send the encoder a smaller image: what is encoded, where it stands, and who shares it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from vllm.exceptions import VLLMValidationError

from cases import LANDSCAPE, PORTRAIT, SQUARE, STRIP, Case, Size
from engines import TOKENS, ask, same_answer
from recording import recorded_selections
from reference import Reference
from sppruner_vllm.api import processor, unprocessed
from sppruner_vllm.planning.accounting import VisualTokens
from sppruner_vllm.planning.smaller import Grid, resize, smaller_grid
from sppruner_vllm.recipes import halfway
from test_caches import generate, raw_prompt

LEAST = 4
CELL = 28

_seeds = itertools.count(300)


@dataclass(frozen=True)
class Resized(Case):
    """A case whose pictures the client itself has brought to given token grids."""

    grids: tuple[Grid, ...] = ()

    def images(self) -> list[Image.Image]:
        return [resize(image, grid, CELL) for image, grid in zip(super().images(), self.grids, strict=True)]


def grid_of(size: Size) -> Grid:
    return size[1] // CELL, size[0] // CELL


@pytest.fixture
def asked() -> Case:
    """A question about a picture that no other test has shown to the engine."""
    return Case((("what is on the left", (SQUARE,)),), next(_seeds))


@pytest.fixture
def several() -> Case:
    return Case((("which of them is it", (LANDSCAPE, STRIP, PORTRAIT)),), next(_seeds))


@contextmanager
def records() -> Iterator[list[VisualTokens]]:
    """What is accounted for each request inside the block."""
    found: list[Any] = []
    account = processor.account

    def recording(*args: Any) -> Any:
        found.append(account(*args))
        return found[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processor, "account", recording)
        yield found


@pytest.fixture
def encoded(model: Any, monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The patch grid of every image that the encoder sees from here on."""
    grids: list[list[int]] = []
    encode = model._encoder._upstream

    def watching(**inputs: Any) -> Any:
        grids.extend(inputs["image_grid_thw"].tolist())
        return encode(**inputs)

    monkeypatch.setattr(model._encoder, "_upstream", watching)
    return grids


@pytest.mark.parametrize("ratio", [0.5, 0.222])
def test_a_downscaled_image_is_answered_like_one_that_came_so_small(
    llm: Any, several: Case, reference: Reference, ratio: float
) -> None:
    sizes = [grid_of(size) for size in (LANDSCAPE, STRIP, PORTRAIT)]
    grids = tuple(smaller_grid(grid, math.ceil(math.prod(grid) * ratio), LEAST) for grid in sizes)
    small = Resized(several.turns, several.seed, grids)
    with recorded_selections() as kept, records() as found:
        (answer,) = ask(llm, [several], ratio, reduction_method="downscale")
    expected, logits = reference.answer(small, None, TOKENS)
    same_answer(answer, expected, logits)
    assert kept == [], "the worker drops nothing"
    total, placed = sum(map(math.prod, sizes)), sum(map(math.prod, grids))
    assert found == [VisualTokens(total, placed, ratio, "downscale", None, (None,) * 3)]
    (stock,) = ask(llm, [small], 1.0)
    assert (stock.prompt, stock.tokens) == (answer.prompt, answer.tokens)


@pytest.mark.parametrize("ratio", [0.5, 0.222])
def test_a_hybrid_downscales_halfway_and_the_worker_drops_the_rest(
    llm: Any, several: Case, reference: Reference, encoded: list[list[int]], ratio: float
) -> None:
    sizes = [grid_of(size) for size in (LANDSCAPE, STRIP, PORTRAIT)]
    budgets = [math.ceil(math.prod(grid) * ratio) for grid in sizes]
    grids = tuple(
        smaller_grid(grid, halfway(math.prod(grid), budget), budget)
        for grid, budget in zip(sizes, budgets, strict=True)
    )
    with recorded_selections() as kept, records() as found:
        (answer,) = ask(llm, [several], ratio, reduction_method="hybrid")
    assert [[height // 2, width // 2] for _, height, width in encoded] == [list(grid) for grid in grids]
    assert [len(image) for image in kept] == budgets
    assert found == [VisualTokens(sum(map(math.prod, sizes)), sum(budgets), ratio, "hybrid", None, ("question",) * 3)]
    expected, logits = reference.answer(Resized(several.turns, several.seed, grids), kept, TOKENS)
    same_answer(answer, expected, logits)


def test_a_downscaled_image_is_shared_by_all_questions_and_by_no_other_size(
    llm: Any, asked: Case, encoded: list[list[int]]
) -> None:
    other_question = replace(asked, turns=(("how many are there then", (SQUARE,)),))
    ask(llm, [asked], 0.25, reduction_method="downscale")
    ask(llm, [other_question], 0.25, reduction_method="downscale")
    assert len(encoded) == 1, "the query does not matter"
    for ratio, method in ((0.5, "downscale"), (0.25, "hybrid"), (0.25, "uniform"), (1.0, "downscale")):
        ask(llm, [asked], ratio, reduction_method=method)
    assert encoded == [[1, 12, 12], [1, 16, 18], [1, 24, 24]], "halfway to a quarter is half: those two share rows"


def test_a_cached_image_is_not_resized_again(llm: Any, asked: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(llm, [asked], 0.25, reduction_method="downscale")
    monkeypatch.delattr(unprocessed, "resize")
    (again,) = ask(llm, [asked], 0.25, reduction_method="downscale")
    assert again.cached > 0


def test_at_ratio_1_nothing_is_made_smaller(llm: Any, asked: Case) -> None:
    (stock,) = ask(llm, [asked])
    with records() as found:
        (answer,) = ask(llm, [asked], 1.0, reduction_method="downscale")
    assert answer.prompt_ids == stock.prompt_ids
    assert answer.tokens == stock.tokens
    assert found == [VisualTokens(144, 144, 1.0, "downscale", "keep_ratio_is_1", (None,))]


def test_an_image_at_the_familys_minimum_says_so(llm: Any) -> None:
    tiny = Case((("what", ((56, 56),)),), next(_seeds))
    with records() as found:
        ask(llm, [tiny], 0.5, reduction_method="downscale")
        ask(llm, [tiny], 0.5, reduction_method="hybrid")
    assert found == [
        VisualTokens(4, 4, 0.5, "downscale", "image_too_small", (None,)),
        VisualTokens(4, 2, 0.5, "hybrid", None, ("question",)),
    ]


def method_prompt(image: Any, method: str, ratio: float = 0.25, uuid: str | None = None) -> dict[str, Any]:
    prompt = raw_prompt(image, ratio, uuid=uuid)
    return {**prompt, "mm_processor_kwargs": {"keep_ratio": ratio, "reduction_method": method}}


@pytest.mark.parametrize(
    ("method", "retained", "reason"), [("downscale", 144, "unsupported_input"), ("hybrid", 36, None)]
)
@pytest.mark.parametrize("form", ["embeddings", "array"])
def test_what_is_no_picture_is_reduced_by_the_worker_or_says_why_not(
    llm: Any, asked: Case, form: str, method: str, retained: int, reason: str | None
) -> None:
    (picture,) = asked.images()
    embeddings = {"image_embeds": torch.randn(144, 256), "image_grid_thw": torch.tensor([[1, 24, 24]])}
    with records() as found:
        generate(llm, method_prompt(embeddings if form == "embeddings" else np.array(picture), method))
    assert found == [VisualTokens(144, retained, 0.25, method, reason, ("question" if method == "hybrid" else None,))]


@pytest.mark.parametrize("method", ["downscale", "hybrid"])
def test_an_image_sent_by_uuid_alone_is_served_at_its_size_and_refused_at_another(
    llm: Any, asked: Case, method: str
) -> None:
    uuid = f"smaller-{method}"
    sent = generate(llm, method_prompt(asked.images()[0], method, uuid=uuid))
    named = generate(llm, method_prompt(None, method, uuid=uuid))
    assert named.outputs[0].token_ids == sent.outputs[0].token_ids
    with pytest.raises(VLLMValidationError, match="uuid only") as refusal:
        generate(llm, method_prompt(None, method, 0.5, uuid=uuid))
    assert refusal.value.parameter == "uuid"
