"""What `reduce` promises whatever the image: the count, the order, the types, and clear refusals."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import pytest
import torch

from reduction_scenes import noise_image, scene
from sppruner_vllm import reduction
from sppruner_vllm.reduction import (
    BUILTIN_METHODS,
    FocusContextParams,
    ImageTokens,
    Method,
    Selection,
    UnknownMethod,
    get_method,
    method_names,
    reduce,
    register_method,
)
from sppruner_vllm.reduction.core.method import NEEDS

METHODS = tuple(sorted(BUILTIN_METHODS))
GRIDS = ((1, 1), (1, 2), (2, 1), (1, 13), (9, 1), (2, 2), (3, 5), (7, 4), (11, 12), (20, 7))


def assert_lawful(selection: Selection, image: ImageTokens) -> None:
    count = image.rows.shape[0]
    assert selection.kept.dtype == torch.int64
    assert selection.kept.shape == selection.is_focus.shape == (image.budget,)
    assert selection.is_focus.dtype == torch.bool
    kept = selection.kept.tolist()
    assert kept == sorted(set(kept))
    assert 0 <= kept[0] <= kept[-1] < count
    for values in (selection.saliency, selection.scores, selection.relevance):
        if values is not None:
            assert values.shape == (count,)
            assert values.dtype == torch.float32
            assert values.isfinite().all()
    assert 0 <= selection.saliency.min() <= selection.saliency.max() <= 1
    if selection.relevance is not None:
        assert 0 <= selection.relevance.min() <= selection.relevance.max() <= 1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("grid", GRIDS)
def test_exactly_the_budget_is_kept_for_every_budget(method: str, grid: tuple[int, int]):
    count = grid[0] * grid[1]
    budgets = range(1, count + 1) if count < 40 else (1, 2, 3, count // 5, count // 2, count - 1, count)
    images = [noise_image(grid, budget, seed=budget, words=budget % 3) for budget in budgets]
    for image, selection in zip(images, reduce(images, method), strict=True):
        assert_lawful(selection, image)


def hostile_rows(kind: str, count: int, width: int) -> torch.Tensor:
    rows = torch.randn(count, width, generator=torch.Generator().manual_seed(1))
    match kind:
        case "zero":
            rows = torch.zeros(count, width)
        case "constant":
            rows = torch.full((count, width), 0.1)
        case "equal rows":
            rows = rows[:1].repeat(count, 1)
        case "two values":
            rows = rows[:2].repeat(count, 1)[:count]
        case "one row differs":
            rows = torch.cat([rows[:1].repeat(count - 1, 1), rows[1:2]])
        case "nan row":
            rows[3] = torch.nan
        case "inf entries":
            rows[0, 0], rows[5, 1] = torch.inf, -torch.inf
        case "all nan":
            rows = torch.full((count, width), torch.nan)
        case "huge":
            rows = rows * 1e38
        case "tiny":
            rows = rows * 1e-42
        case "one huge entry":
            rows[2, 2] = 3e38
    return rows


@pytest.mark.parametrize(
    "kind",
    [
        "zero",
        "constant",
        "equal rows",
        "two values",
        "one row differs",
        "nan row",
        "inf entries",
        "all nan",
        "huge",
        "tiny",
        "one huge entry",
    ],
)
@pytest.mark.parametrize("query", ["none", "noise", "nan", "zero"])
@pytest.mark.parametrize("method", METHODS)
def test_hostile_rows_still_give_the_budget(kind: str, query: str, method: str):
    width = 16
    text = {
        "none": None,
        "noise": torch.randn(3, width, generator=torch.Generator().manual_seed(2)),
        "nan": torch.full((2, width), torch.nan),
        "zero": torch.zeros(2, width),
    }[query]
    images = [ImageTokens(hostile_rows(kind, 30, width), (5, 6), text, budget) for budget in (1, 2, 13, 29, 30)]
    for image, selection in zip(images, reduce(images, method), strict=True):
        assert_lawful(selection, image)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("text_mean", [torch.full((16,), torch.nan), torch.full((16,), torch.inf)])
def test_a_broken_text_mean_still_gives_the_budget(text_mean: torch.Tensor, method: str):
    image = noise_image((5, 6), 7, seed=0, width=16, words=3)
    assert_lawful(reduce([image], method, text_mean=text_mean)[0], image)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_every_float_type_is_read_at_its_own_precision(dtype: torch.dtype, method: str):
    image = noise_image((8, 9), 20, seed=3, words=4, dtype=dtype)
    assert image.query is not None
    as_float = ImageTokens(image.rows.float(), image.grid, image.query.float(), image.budget)
    mine, other = reduce([image], method)[0], reduce([as_float], method)[0]
    assert_lawful(mine, image)
    assert torch.equal(mine.kept, other.kept)


@pytest.mark.parametrize("method", METHODS)
def test_the_inputs_are_left_as_they_were(method: str):
    image = replace(noise_image((6, 6), 9, seed=4, words=3), attention=torch.linspace(-1, 1, 36))
    assert image.query is not None
    rows, query = image.rows.clone(), image.query.clone()
    reduce([image], method, text_mean=torch.ones(32))
    assert torch.equal(image.attention, torch.linspace(-1, 1, 36))
    assert torch.equal(image.rows, rows)
    assert torch.equal(image.query, query)


@pytest.mark.parametrize("method", METHODS)
def test_the_kept_tokens_are_those_of_highest_score(method: str):
    image = noise_image((9, 9), 25, seed=5, words=3)
    selection = reduce([image], method)[0]
    order = torch.sort(selection.scores, descending=True, stable=True).indices
    assert torch.equal(order[: image.budget].sort().values, selection.kept)


@pytest.mark.parametrize("words", [0, 2])
def test_focus_takes_no_more_than_its_share_of_the_budget(words: int):
    for share in (1.0, FocusContextParams().focus_cap):
        images = [noise_image((9, 9), budget, seed=6, words=words) for budget in (1, 2, 3, 10, 41, 81)]
        for image, selection in zip(images, reduce(images, params=FocusContextParams(focus_cap=share)), strict=True):
            assert 1 <= selection.is_focus.sum() <= max(1, int(image.budget * share))


def test_no_image_gives_no_selection():
    assert reduce([]) == []


def test_without_query_tokens_there_is_no_relevance():
    bare = noise_image((4, 4), 4, seed=7)
    empty = ImageTokens(bare.rows, bare.grid, torch.empty(0, 32), bare.budget)
    asked = noise_image((4, 4), 4, seed=7, words=2)
    relevance = [selection.relevance is None for selection in reduce([bare, empty, asked])]
    assert relevance == [True, True, False]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"budget": 0}, "budget must be in"),
        ({"budget": 13}, "budget must be in"),
        ({"grid": (3, 5)}, "does not match 12 rows"),
        ({"grid": (-3, -4)}, "does not match 12 rows"),
        ({"rows": torch.zeros(12)}, "rows must be a floating"),
        ({"rows": torch.zeros(12, 8, dtype=torch.int64)}, "rows must be a floating"),
        ({"query": torch.zeros(2, 9)}, "query must be a floating"),
        ({"query": torch.zeros(8)}, "query must be a floating"),
        ({"query": torch.zeros(2, 8, dtype=torch.int64)}, "query must be a floating"),
        ({"query": torch.zeros(2, 8, device="meta")}, "query is on meta"),
        ({"attention": torch.zeros(11)}, "attention must be floating"),
        ({"attention": torch.zeros(12, 1)}, "attention must be floating"),
        ({"attention": torch.zeros(12, dtype=torch.int64)}, "attention must be floating"),
        ({"attention": torch.zeros(12, device="meta")}, "attention is on meta"),
        ({"merger_input": torch.zeros(11, 4, 5)}, "merger_input must be floating"),
        ({"merger_input": torch.zeros(12, 5)}, "merger_input must be floating"),
        ({"merger_input": torch.zeros(12, 4, 5, dtype=torch.int64)}, "merger_input must be floating"),
        ({"merger_input": torch.zeros(12, 4, 5, device="meta")}, "merger_input is on meta"),
    ],
)
def test_an_impossible_image_is_refused_by_number(change: dict[str, object], message: str):
    fields = {"rows": torch.zeros(12, 8), "grid": (3, 4), "query": None, "budget": 5}
    good = ImageTokens(**fields)
    with pytest.raises(ValueError, match=f"image 1: .*{message}"):
        reduce([good, ImageTokens(**{**fields, **change})])


def test_images_of_different_widths_are_refused():
    with pytest.raises(ValueError, match=r"image 1: .*share their width"):
        reduce([noise_image((2, 2), 1, seed=0, width=8), noise_image((2, 2), 1, seed=0, width=9)])


def test_a_text_mean_of_another_width_is_refused():
    with pytest.raises(ValueError, match="text_mean"):
        reduce([noise_image((2, 2), 1, seed=0)], text_mean=torch.zeros(5))


def test_an_unknown_method_is_refused_with_the_known_names():
    with pytest.raises(UnknownMethod, match=", ".join(METHODS)):
        reduce([], "best")


def test_the_methods_that_look_at_the_query_say_so():
    assert method_names() >= set(METHODS)
    assert [name for name in METHODS if get_method(name).uses_query] == [
        "coverage",
        "dpp",
        "focus_context",
        "relevance",
    ]


@pytest.mark.parametrize("method", METHODS)
def test_the_query_changes_the_choice_of_just_the_methods_that_look_at_it(method: str):
    rows = scene((9, 10), [(1, 1, 3, 3), (5, 5, 3, 4)], seed=10)
    aim = (rows[11] - rows.mean(0))[None]
    asked, bare = (reduce([ImageTokens(rows, (9, 10), query, 20)], method)[0] for query in (aim, None))
    assert torch.equal(asked.kept, bare.kept) != get_method(method).uses_query


@pytest.mark.parametrize("need", sorted(NEEDS))
@pytest.mark.parametrize("method", METHODS)
def test_what_a_method_needs_is_what_changes_its_scores(method: str, need: str):
    rows = scene((9, 10), [(1, 1, 3, 3), (5, 5, 3, 4)], seed=10)
    aim = (rows[11] - rows.mean(0))[None]
    query = None if need == "states" else aim  # words that are fully trusted leave them nothing to say
    whole = ImageTokens(rows, (9, 10), query, 20, torch.arange(90.0) ** 2, scene((9, 10), [], seed=11)[:, None])
    whole = replace(whole, states=None if need == "query" else aim)
    given, left_out = (reduce([image], method)[0] for image in (whole, replace(whole, **{need: None})))
    assert torch.equal(given.scores, left_out.scores) != (need in get_method(method).needs | get_method(method).options)


def test_a_name_cannot_be_taken_twice():
    register_method(get_method("uniform"))
    with pytest.raises(ValueError, match="already belongs"):
        register_method(Method("uniform", uses_query=True, select=get_method("uniform").select))


@pytest.mark.parametrize(
    "field",
    [
        {"focus_cap": 1.5},
        {"temperature": 0.0},
        {"attention_share": 1.1},
        {"gate_coherence": (0.4, 0.4)},
        {"context_floor": 0.0},
        {"saliency_clip": 0.5},
        {"blind_power": -1.0},
        {"echo_discount": 1.1},
        {"quota_share": -0.1},
        {"curve": "peano"},
    ],
)
def test_a_constant_outside_its_meaning_is_refused(field: dict[str, object]):
    with pytest.raises(ValueError, match=next(iter(field))):
        FocusContextParams(**field)


@pytest.mark.parametrize(
    "params",
    [
        FocusContextParams(relevance=False),
        FocusContextParams(gate=False, smoothing=False),
        FocusContextParams(focus_cap=0.5, relevance_weight=0.0),
        FocusContextParams(focus_cap=0.0, focus_mass=1.0, scan_share=1.0),
        FocusContextParams(blind_power=0.0, context_saliency=0.0, echo_discount=0.0, quota_share=0.0),
        FocusContextParams(quota_share=1.0, relevance_power=0.0),
        FocusContextParams(curve="raster", context_floor=1.0),
    ],
)
def test_every_switch_leaves_the_count_alone(params: FocusContextParams):
    rows = scene((8, 10), [(1, 1, 3, 3)], seed=8)
    query = torch.randn(3, 256, generator=torch.Generator().manual_seed(9))
    images = [ImageTokens(rows, (8, 10), query, budget) for budget in (1, 2, 7, 40, 79, 80)]
    for image, selection in zip(images, reduce(images, params=params), strict=True):
        assert_lawful(selection, image)


def test_records_are_frozen():
    with pytest.raises(FrozenInstanceError):
        noise_image((2, 2), 1, seed=0).budget = 2


def test_the_package_offers_what_it_lists_and_nothing_is_missing():
    assert all(hasattr(reduction, name) for name in reduction.__all__)
    assert {"ImageTokens", "Selection", "Method", "reduce", "register_method", "FocusContextParams"} <= set(
        reduction.__all__
    )
