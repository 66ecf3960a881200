"""Rows of a picture are encoded once: what is asked later gets the same rows, bit for bit, and runs no encoder."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from cases import LANDSCAPE, PORTRAIT, SQUARE, Case, Size, picture
from engines import Answer, ask, encoder_runs, with_video
from sppruner_vllm.reduction import ImageTokens
from sppruner_vllm.settings import Settings
from sppruner_vllm.wire import Order, StageOrder, encode
from sppruner_vllm.worker import reducing, selecting, served
from sppruner_vllm.worker.rows_cache import RowsCache
from videos import video_runs

_seeds = itertools.count(7000)
SMALL: Size = (112, 112)


@pytest.fixture
def seed() -> int:
    """Of pictures that no other test has shown to the engine."""
    return next(_seeds)


@pytest.fixture(autouse=True)
def cache(model: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[RowsCache]:
    """A cache of the usual size with nothing in it."""
    fresh = RowsCache(128 * 2**20)
    monkeypatch.setattr(model._rows, "cache", fresh)
    return fresh


def about(seed: int, question: str = "what is the colour of the cat", *sizes: Size) -> Case:
    return Case(((question, sizes or (SQUARE,)),), seed)


def cold(llm: Any) -> None:
    """Forget prefixes, and every row in the engine."""
    llm.reset_prefix_cache()
    llm.llm_engine.reset_encoder_cache()


def same(one: Answer, other: Answer) -> None:
    assert one.tokens == other.tokens
    assert torch.equal(one.logits, other.logits)


LATER: list[dict[str, Any]] = [
    {"ratio": 0.5, "question": "where is the big red house now"},
    {"ratio": 0.222},
    {"ratio": 1.0},
    {"ratio": 0.5, "reduction_method": "uniform"},
    {"ratio": 0.25, "focus_query": "the dog"},
]


@pytest.mark.parametrize("first", [0.5, 1.0])
def test_whatever_is_asked_later_answers_as_if_it_came_first_and_runs_no_encoder(
    llm: Any, model: Any, seed: int, first: float
) -> None:
    with encoder_runs(model) as runs:
        ask(llm, [about(seed)], first)
    assert runs == [1]
    for later in LATER:
        fields = dict(later)
        ratio, case = fields.pop("ratio"), about(seed, fields.pop("question", "what is the colour of the cat"))
        llm.reset_prefix_cache()
        with encoder_runs(model) as runs:
            (warm,) = ask(llm, [case], ratio, **fields)
        assert runs == [], later
        cold(llm)
        with encoder_runs(model) as runs:
            (anew,) = ask(llm, [case], ratio, **fields)
        assert runs == [1]
        same(warm, anew)


def test_the_first_answer_of_all_stays_when_its_rows_are_kept(llm: Any, seed: int) -> None:
    (first,) = ask(llm, [about(seed)], 0.222)
    llm.reset_prefix_cache()
    llm.llm_engine.engine_core.engine_core.scheduler.reset_encoder_cache()
    (again,) = ask(llm, [about(seed)], 0.222)
    same(first, again)


def test_a_smaller_form_of_a_picture_has_rows_of_its_own(llm: Any, model: Any, seed: int) -> None:
    ask(llm, [about(seed)], 0.5)
    with encoder_runs(model) as runs:
        ask(llm, [about(seed)], 0.5, reduction_method="hybrid")
        ask(llm, [about(seed, "why")], 0.5, reduction_method="hybrid")
    assert runs == [1]


def test_equal_pictures_of_one_step_are_encoded_once(llm: Any, model: Any, seed: int) -> None:
    questions = ("what is this", "where is the dog", "how many cats", "is it red")
    with encoder_runs(model) as runs:
        together = ask(llm, [about(seed, question) for question in questions], [0.5, 0.222, 1.0, 0.222])
    assert runs == [1]
    for question, ratio, answer in zip(questions, (0.5, 0.222, 1.0, 0.222), together, strict=True):
        cold(llm)
        (alone,) = ask(llm, [about(seed, question)], ratio)
        assert alone.tokens == answer.tokens


# One step, as the worker sees it


def step(processor: Any, pictures: list[tuple[str, Size]], keep: list[int]) -> dict[str, Any]:
    """Encoder inputs of named pictures, of which so many rows are to be kept."""
    images = [picture(size, sum(map(ord, name))) for name, size in pictures]
    tokens = [width * height // 784 for _, (width, height) in pictures]
    orders = [
        Order(size, kept, (StageOrder("rows", "focus_context", kept),), torch.empty(0, dtype=torch.int64), False, name)
        for (name, _), size, kept in zip(pictures, tokens, keep, strict=True)
    ]
    inputs = processor.info.get_hf_processor().image_processor(images, return_tensors="pt")
    return {**inputs, **encode(orders)}


@pytest.fixture(scope="module")
def processor(llm: Any) -> Any:
    return llm.llm_engine.input_processor.renderer.get_mm_processor()


A, B, C, D = ("a", SQUARE), ("b", PORTRAIT), ("c", LANDSCAPE), ("d", SMALL)


@torch.inference_mode()
@pytest.mark.parametrize("budget", [4096, 200], ids=["one batch", "micro-batches"])
@pytest.mark.parametrize(
    "places", itertools.permutations(range(4)), ids=lambda places: "".join("abcd"[place] for place in places)
)
def test_hits_and_misses_of_one_step_come_back_in_its_order(
    model: Any, processor: Any, monkeypatch: pytest.MonkeyPatch, places: tuple[int, ...], budget: int
) -> None:
    """A and C are known, B and D are not: hits give what they gave first, misses what they give without the hits."""
    monkeypatch.setattr(model, "_encoder_budget", budget)
    pictures, keep = (A, B, C, D), (144, 30, 40, 16)
    known = dict(zip("ac", model.embed_multimodal(**step(processor, [A, C], [144, 40])), strict=True))
    missing = [place for place in places if place in (1, 3)]
    cache, model._rows.cache = model._rows.cache, RowsCache(2**20)
    apart = model.embed_multimodal(**step(processor, [pictures[i] for i in missing], [keep[i] for i in missing]))
    model._rows.cache = cache
    expected = known | {pictures[place][0]: rows for place, rows in zip(missing, apart, strict=True)}

    inputs = step(processor, [pictures[place] for place in places], [keep[place] for place in places])
    with encoder_runs(model) as runs:
        rows = model.embed_multimodal(**inputs)
    assert sum(runs) == 2
    for place, found in zip(places, rows, strict=True):
        assert torch.equal(found, expected[pictures[place][0]])


@torch.inference_mode()
def test_many_questions_about_one_picture_are_selected_within_the_budget(
    model: Any, processor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "_encoder_budget", 300)
    sizes: list[int] = []
    reduce_batch = model._reduce_batch

    def watching(rows: list[Tensor], *args: Any, **others: Any) -> Any:
        sizes.append(sum(len(image) for image in rows))
        return reduce_batch(rows, *args, **others)

    monkeypatch.setattr(model, "_reduce_batch", watching)
    for _ in range(2):
        model.embed_multimodal(**step(processor, [A] * 5, [20, 21, 22, 144, 24]))
    assert sizes == [144, 288, 288, 288, 288, 144]


@torch.inference_mode()
def test_a_picture_that_stands_alone_is_kept_without_a_copy(model: Any, processor: Any, cache: RowsCache) -> None:
    (first,) = model.embed_multimodal(**step(processor, [A], [144]))
    (again,) = model.embed_multimodal(**step(processor, [A], [144]))
    assert first is again
    assert cache.held == first.nbytes


@torch.inference_mode()
def test_of_a_batch_each_picture_is_kept_by_itself(model: Any, processor: Any, cache: RowsCache) -> None:
    rows = model.embed_multimodal(**step(processor, [A, B, D], [144, 128, 16]))
    assert [image.untyped_storage().nbytes() for image in rows] == [image.nbytes for image in rows]
    assert cache.held == sum(image.nbytes for image in rows)


@torch.inference_mode()
def test_rows_that_had_to_go_are_encoded_again(model: Any, processor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model._rows, "cache", RowsCache(200 * 256 * 4))
    with encoder_runs(model) as runs:
        for one in (A, A, B, B, A, D, A):
            model.embed_multimodal(**step(processor, [one], [10]))
    assert len(runs) == 4, "B took the place of A, and A that of B; D fitted beside it"


@torch.inference_mode()
def test_without_a_name_a_picture_is_encoded_each_time(model: Any, processor: Any, cache: RowsCache) -> None:
    with encoder_runs(model) as runs:
        for _ in range(2):
            model.embed_multimodal(**step(processor, [("", SMALL), ("", SMALL)], [10, 12]))
    assert runs == [2, 2]
    assert cache.held == 0


@torch.inference_mode()
def test_a_profile_takes_the_bound_and_keeps_nothing(model: Any, processor: Any, cache: RowsCache) -> None:
    inputs = step(processor, [D], [16])
    order = Order(16, 16, (), torch.empty(0, dtype=torch.int64), True, "d")
    model.embed_multimodal(**{**inputs, **encode([order])})
    assert (cache.reserved, cache.held) == (128 * 2**20, 0)
    model.embed_multimodal(**step(processor, [D], [16]))
    assert cache.reserved == 0


# What is overheard


@pytest.mark.parametrize(
    ("tap", "on"), [("attention", {"saliency_attention": True}), ("merger_input", {"rank_on": "patches"})]
)
@torch.inference_mode()
def test_what_is_overheard_is_computed_once_for_those_who_read_it(
    model: Any, processor: Any, monkeypatch: pytest.MonkeyPatch, tap: str, on: dict[str, Any]
) -> None:
    seen: list[ImageTokens] = []
    reduce = selecting.reduce

    def watching(given: list[ImageTokens], *args: Any, **kwargs: Any) -> Any:
        seen.extend(given)
        return reduce(given, *args, **kwargs)

    monkeypatch.setattr(selecting, "reduce", watching)
    heard: list[bool] = []
    with encoder_runs(model) as runs:
        for wanted in (False, True, True, False):
            chosen = Settings(**on) if wanted else Settings()
            monkeypatch.setattr(served, "settings", lambda chosen=chosen: chosen)
            model.embed_multimodal(**step(processor, [A], [20]))
            heard.append(getattr(seen[-1], tap) is not None)
    assert len(runs) == 2, "the second request wants more than was kept"
    assert heard == [False, True, True, False], "who asked before shows in nothing"
    assert all(torch.equal(image.rows, seen[0].rows) for image in seen)
    assert torch.equal(getattr(seen[1], tap), getattr(seen[2], tap))


# Off, and out of date


def test_zero_keeps_nothing(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reducing, "settings", lambda: Settings(rows_cache_mib=0))
    assert model._rows_cache() is None


def test_nothing_is_kept_where_adapters_change_the_tower(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert model._rows_cache() is not None
    monkeypatch.setattr(model, "_whole_batch", True)
    assert model._rows_cache() is None


def test_without_a_cache_every_question_is_encoded(
    llm: Any, model: Any, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    (kept,) = ask(llm, [about(seed)], 0.222)
    cold(llm)
    monkeypatch.setattr(model._rows, "cache", None)
    with encoder_runs(model) as runs:
        (first,) = ask(llm, [about(seed)], 0.222)
        ask(llm, [about(seed, "why")], 0.222)
    assert runs == [1, 1]
    same(first, kept)


def test_pictures_and_videos_are_kept_beside_each_other(llm: Any, model: Any, cache: RowsCache, seed: int) -> None:
    request = with_video((112, 140), 0.5, seed)
    for question in ("whose", "why"):
        asked = {**request, "prompt": request["prompt"].replace("what", question)}
        with encoder_runs(model) as pictures, video_runs(model) as videos:
            llm.generate(asked, use_tqdm=False)
        assert (pictures, videos) == (([2], [1]) if question == "whose" else ([], []))
    assert cache.held == (144 + 128 + 40) * model.family.row_width * 4


def test_whatever_makes_rows_stale_empties_the_cache(llm: Any, model: Any, cache: RowsCache, seed: int) -> None:
    questions = iter(("what", "where", "who"))

    def fill() -> None:
        ask(llm, [about(seed, next(questions))], 0.5)
        assert cache.held > 0

    fill()
    llm.llm_engine.reset_encoder_cache()
    assert cache.held == 0, "also where vLLM pauses to take weights, and goes to sleep"
    fill()
    model.load_weights([])
    assert cache.held == 0
    fill()
    llm.collective_rpc("reload_weights")
    assert cache.held == 0
