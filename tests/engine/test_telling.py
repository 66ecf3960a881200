"""What a worker tells of a request's selections is what it kept for it, however the request came to be computed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from cases import LANDSCAPE, PORTRAIT, SQUARE, Case
from engines import ask, operated_with
from recording import recorded_selections
from sppruner_vllm.reduction import ImageTokens, Selection
from sppruner_vllm.request.handed_over import TELLING, Telling
from sppruner_vllm.told import TELL, Told
from sppruner_vllm.worker.telling import Memory, Remembered, Stopwatch
from towers import BEHIND

CAT = "what is the colour of the small cat"
RATIO = 0.222
THREE = (SQUARE, PORTRAIT, LANDSCAPE)

_names = itertools.count()


def told(
    llm: Any, case: Case, pictures: int, ratio: float = RATIO, **fields: Any
) -> tuple[list[Told], list[list[int]]]:
    """What is told of a case's pictures, and what a tap at the end of the selection saw."""
    telling = Telling(f"request-{next(_names)}")
    with recorded_selections() as kept:
        ask(llm, [case], ratio, tokens=1, **{**fields, TELLING: telling})
    names = [telling.name_of(image) for image in range(pictures)]
    (found,) = llm.collective_rpc(TELL, args=(names,))
    assert llm.collective_rpc(TELL, args=(names,)) == [{}], "told once"
    return [Told.from_message(found[name]) for name in names], kept


def in_order(kept: Sequence[list[int]], one: Sequence[Told]) -> bool:
    """Whether each picture keeps what the tap saw of it; a batch brings pictures in the order it likes."""
    return sorted(kept) == sorted(picture.kept for picture in one)


@pytest.mark.parametrize("scope", ["question", "image", "auto"])
def test_it_is_what_was_kept(llm: Any, scope: str) -> None:
    found, kept = told(llm, Case(((CAT, THREE),), 951), 3, focus_scope=scope)
    assert [one.kept for one in found] == kept
    assert [one.grid for one in found] == [(12, 12), (16, 8), (9, 18)]
    for one in found:
        tokens = math.prod(one.grid)
        assert len(one.kept) == len(one.focus) == math.ceil(tokens * RATIO)
        assert len(one.saliency) == tokens
        assert (one.relevance is None) == (scope == "image")
        assert 0 <= min(one.saliency) < max(one.saliency) <= 1
        assert any(one.focus)
        assert one.through is None
        assert one.seconds > 0


def test_micro_batches_change_nothing(chunked: Any, llm: Any) -> None:
    case = Case(((CAT, THREE),), 952)
    found, kept = told(chunked, case, 3)
    assert in_order(kept, found)
    assert [one.kept for one in found] == [one.kept for one in told(llm, case, 3)[0]]


def test_what_is_in_the_prefix_cache_is_selected_anew_from_the_rows_that_were_kept(llm: Any) -> None:
    case = Case(((CAT, (SQUARE, PORTRAIT)),), 953)
    with recorded_selections() as before:
        ask(llm, [case], RATIO)
    found, kept = told(llm, case, 2)
    assert [one.kept for one in found] == kept == before
    assert all(one.spared for one in found)


def test_nobody_who_did_not_ask_is_remembered_or_spared_anything(llm: Any, model: Any) -> None:
    case = Case(((CAT, (SQUARE,)),), 954)
    told(llm, case, 1)
    assert not model._memory._held
    with recorded_selections() as kept:
        (answer,) = ask(llm, [case], RATIO)
    assert (len(kept), answer.cached) == (1, 0), "the caches know what was told by its own name"
    assert not model._memory._held


def test_requests_of_one_batch_are_told_apart(llm: Any) -> None:
    cases = [Case(((text, (SQUARE,)),), 955 + number) for number, text in enumerate((CAT, "how many trees"))]
    alone = [told(llm, case, 1)[0][0].kept for case in cases]
    names = [Telling(f"batch-{number}") for number in range(2)]
    from vllm import SamplingParams

    for case, name in zip(cases, names, strict=True):
        kwargs = {"keep_ratio": RATIO, TELLING: name}
        llm.enqueue_chat(case.messages(), SamplingParams(max_tokens=1), use_tqdm=False, mm_processor_kwargs=kwargs)
    llm.wait_for_completion(use_tqdm=False)
    (found,) = llm.collective_rpc(TELL, args=([name.name_of(0) for name in names],))
    assert [found[name.name_of(0)]["kept"] for name in names] == alone


@pytest.mark.parametrize("spared", [False, True])
def test_of_a_cut_encoder_it_says_who_went_through(llm: Any, spared: bool) -> None:
    case = Case(((CAT, (SQUARE, PORTRAIT)),), 957 + spared)
    with operated_with(ENCODER_CUT="2", ENCODER_CUT_BLOCK=str(BEHIND)):
        if spared:
            ask(llm, [case], RATIO)  # whose rows are kept, and not who went through
            told(llm, case, 2)
        found, kept = told(llm, case, 2)
    assert in_order(kept, found)
    assert [one.spared for one in found] == [spared] * 2
    for one in found:
        assert one.through is not None
        assert len(set(one.through)) == 2 * len(one.kept)
        assert 0 <= min(one.through) <= max(one.through) < math.prod(one.grid)


def test_repeats_did_not_go_through(llm: Any) -> None:
    from PIL import Image

    plain = Case(((CAT, (SQUARE,)),), 960)
    half = plain.images()[0]
    half.paste(Image.new("RGB", (336, 168), "white"), (0, 0))
    telling = Telling("repeats")
    from vllm import SamplingParams

    with operated_with(SKIP_REPEATS="1"):
        kwargs = {"keep_ratio": RATIO, TELLING: telling}
        llm.enqueue_chat(plain.messages([half]), SamplingParams(max_tokens=1), mm_processor_kwargs=kwargs)
        llm.wait_for_completion(use_tqdm=False)
    (found,) = llm.collective_rpc(TELL, args=([telling.name_of(0)],))
    through = found[telling.name_of(0)]["through"]
    assert set(range(72, 144)) <= set(through), "each token of the lower half is its own"
    assert 0 < len([token for token in through if token < 72]) < 72 / 4


def test_a_smaller_picture_is_told_of_by_its_own_grid(llm: Any) -> None:
    found, kept = told(llm, Case(((CAT, (SQUARE,)),), 961), 1, reduction_method="hybrid")
    assert in_order(kept, found)
    assert math.prod(found[0].grid) < 144


def test_memory_lets_go_of_what_was_asked_for_first() -> None:
    one = Remembered((4, 4), _selection(16), None, False, Stopwatch(torch.device("cpu")))
    memory = Memory(3 * one.nbytes)
    for name in "abcd":
        memory.remember(name, one)
    assert list(memory.tell(list("abcd"))) == ["b", "c", "d"]
    memory.remember("large", Remembered((64, 64), _selection(4096), None, False, one.watch))
    assert memory.tell(["large"]) == {}


def test_memory_keeps_no_batch_alive() -> None:
    batch = torch.zeros(8, 16)
    chosen = Selection(torch.arange(4), torch.ones(4, dtype=torch.bool), batch[3], batch[4], batch[5])
    memory = Memory()
    memory.remember("a", Remembered((4, 4), chosen, None, False, Stopwatch(batch.device)))
    held = memory._held["a"].selection
    parts = held.saliency, held.relevance, held.scores
    assert all(part.untyped_storage().nbytes() <= 64 for part in parts)


def _selection(tokens: int) -> Selection:
    from sppruner_vllm.reduction import reduce

    rows = torch.randn(tokens, 8)
    (selection,) = reduce([ImageTokens(rows, (int(tokens**0.5), int(tokens**0.5)), None, 4)])
    return selection
