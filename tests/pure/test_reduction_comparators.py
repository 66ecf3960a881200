"""The published rules that ours is measured against, each held to a naive version of its formula."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from reduction_scenes import noise_image, padded, scene, seeded
from sppruner_vllm.reduction import FocusContextParams, ImageTokens, reduce
from sppruner_vllm.reduction.core.cosine import plain_directions
from sppruner_vllm.reduction.methods.coverage import text_weights
from sppruner_vllm.reduction.methods.uniform import lattice

SEEDS = range(6)


def unit(rows: Tensor) -> Tensor:
    return normalize(rows.double(), dim=1)


def picked(image: ImageTokens, method: str, params: FocusContextParams | None = None) -> list[int]:
    """Kept tokens in the order of their scores."""
    selection = reduce([image], method, params=params)[0]
    return torch.sort(selection.scores, descending=True, stable=True).indices[: image.budget].tolist()


def greedy(count: int, budget: int, worth: Callable[[list[int]], float]) -> list[int]:
    """The plainest greedy choice: each step adds the token that makes the set worth most."""
    kept: list[int] = []
    for _ in range(budget):
        kept.append(max((n for n in range(count) if n not in kept), key=lambda n: worth([*kept, n])))
    return kept


def min_max(values: Tensor) -> Tensor:
    return (values - values.min()) / (values.max() - values.min())


def mean_cosine(image: ImageTokens) -> Tensor:
    assert image.query is not None
    return (unit(image.rows) @ unit(image.query).T).mean(1)


@pytest.mark.parametrize("seed", SEEDS)
def test_maxmin_always_adds_the_token_farthest_from_its_nearest_kept_one(seed: int):
    image = noise_image((4, 6), 9, seed=seed, width=24)
    distance = 1 - unit(image.rows) @ unit(image.rows).T
    alone = distance.clone().fill_diagonal_(torch.inf).amin(1)
    kept = [int(alone.argmax())]
    while len(kept) < 9:
        gap = distance[kept].amin(0)
        gap[kept] = -1
        kept.append(int(gap.argmax()))
    assert picked(image, "maxmin") == kept


def test_maxmin_takes_one_of_each_kind_before_a_second_of_any():
    kinds = torch.randn(5, 32, generator=seeded(1)).repeat(8, 1)
    chosen = picked(ImageTokens(kinds, (5, 8), None, 5), "maxmin")
    assert sorted(n % 5 for n in chosen) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("method", ["maxmin", "dpp"])
def test_a_broken_row_is_picked_last(method: str):
    image = noise_image((4, 5), 19, seed=2)
    image.rows[7] = torch.nan
    assert 7 not in picked(image, method)


@pytest.mark.parametrize("words", [0, 3])
@pytest.mark.parametrize("seed", SEEDS)
def test_dpp_always_adds_the_token_that_makes_the_determinant_largest(seed: int, words: int):
    image = noise_image((3, 5), 6, seed=seed, width=24, words=words)
    quality = min_max(mean_cosine(image)).clamp_min(1e-6) if words else torch.ones(15).double()
    long = quality[:, None] * unit(image.rows)
    kernel = long @ long.T
    assert picked(image, "dpp") == greedy(15, 6, lambda kept: round(kernel[kept][:, kept].det().item(), 12))


def test_dpp_prefers_what_resembles_the_question():
    image = noise_image((4, 5), 3, seed=3)
    asked = ImageTokens(image.rows, image.grid, image.rows[13:14], 3)
    assert picked(asked, "dpp")[0] == 13


def test_dpp_goes_on_by_relevance_when_its_picks_span_every_row():
    rows = torch.randn(20, 4, generator=seeded(4))
    image = ImageTokens(rows, (4, 5), torch.randn(1, 4, generator=seeded(5)), 20)
    order = picked(image, "dpp")
    assert torch.linalg.matrix_rank(rows[order[:4]]) == 4
    cosine = mean_cosine(image)
    assert order[4:] == sorted(order[4:], key=lambda n: -cosine[n].item())


@pytest.mark.parametrize("words", [0, 3, 12])
@pytest.mark.parametrize("seed", SEEDS)
def test_coverage_always_adds_the_token_that_lets_the_image_be_spoken_for_best(seed: int, words: int):
    image = noise_image((4, 5), 7, seed=seed, width=24, words=words)
    weight = torch.ones(20).double()
    if words:
        batch = padded(image)
        weight = text_weights(plain_directions(batch.rows), batch)[0, :20]
    alike = (1 + unit(image.rows) @ unit(image.rows).T) / 2
    assert picked(image, "coverage") == greedy(
        20, 7, lambda kept: round((weight * alike[kept].amax(0)).sum().item(), 9)
    )


@pytest.mark.parametrize("words", [1, 3, 12])
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("width", [24, 1024])
def test_coverage_weighs_tokens_by_the_words_of_lowest_entropy(seed: int, words: int, width: int):
    image = noise_image((4, 5), 7, seed=seed, width=width, words=words)
    assert image.query is not None
    cosine = unit(image.query) @ unit(image.rows).T
    chance = (cosine * 100).softmax(1)
    entropy = -(chance * (chance + 1e-300).log()).sum(1)
    heard = entropy.argsort()[: max(1, -(-words // 5))]
    named = (-entropy[heard] / 0.01).softmax(0) @ cosine[heard]
    overall = unit(image.rows) @ unit(image.query.mean(0, keepdim=True))[0]
    flat = min_max((named + overall) / 2).view(4, 5)
    smoothed = torch.zeros(4, 5).double()
    for row in range(4):
        for column in range(5):
            near = [(r, c) for r in range(4) for c in range(5) if max(abs(r - row), abs(c - column)) <= 1]
            share = torch.tensor([-((r - row) ** 2 + (c - column) ** 2) / 2 for r, c in near]).double().softmax(0)
            smoothed[row, column] = share @ torch.stack([flat[place] for place in near])
    batch = padded(image)
    got = text_weights(plain_directions(batch.rows), batch)[0, :20]
    # The weights of the words follow their entropies so steeply that the rounding of a cosine shows.
    assert (got - smoothed.flatten()).abs().max() < 0.05


def test_coverage_keeps_one_token_per_group():
    rows = torch.randn(4, 64, generator=seeded(6)).repeat_interleave(10, 0)
    rows += 0.1 * torch.randn(40, 64, generator=seeded(7))
    assert sorted(n // 10 for n in picked(ImageTokens(rows, (5, 8), None, 4), "coverage")) == [0, 1, 2, 3]


@pytest.mark.parametrize("method", ["dpp", "coverage"])
def test_with_relevance_off_the_question_is_not_heard(method: str):
    asked = noise_image((6, 7), 10, seed=8, words=4)
    bare = ImageTokens(asked.rows, asked.grid, None, 10)
    deaf = reduce([asked], method, params=FocusContextParams(relevance=False))[0]
    assert torch.equal(deaf.scores, reduce([bare], method)[0].scores)
    assert not torch.equal(deaf.kept, reduce([asked], method)[0].kept)


def test_saliency_keeps_what_points_away_from_the_mean():
    rows = scene((9, 10), [(2, 2, 3, 3)], seed=9)
    chosen = reduce([ImageTokens(rows, (9, 10), None, 12)], "saliency")[0]
    unit = torch.nn.functional.normalize((rows - rows.mean(0)).double(), dim=1)
    distinct = -(unit @ unit.T).mean(1)
    assert set(chosen.kept.tolist()) == set(distinct.topk(12).indices.tolist())
    assert torch.equal(chosen.scores, chosen.saliency)


@pytest.mark.parametrize("seed", SEEDS)
def test_relevance_keeps_the_highest_mean_cosines(seed: int):
    image = noise_image((6, 7), 10, seed=seed, words=5)
    assert set(picked(image, "relevance")) == set(mean_cosine(image).topk(10).indices.tolist())


def test_relevance_centres_both_sides_when_the_text_mean_is_known():
    rows, query = scene((6, 7), [], seed=10), torch.randn(4, 256, generator=seeded(11)) + 2
    both = ImageTokens(rows - rows.mean(0), (6, 7), query - 2, 10)
    neither = ImageTokens(rows, (6, 7), query, 10)
    kept = set(reduce([neither], "relevance", text_mean=torch.full((256,), 2.0))[0].kept.tolist())
    expected, plain = (set(mean_cosine(image).topk(10).indices.tolist()) for image in (both, neither))
    assert kept == expected
    assert kept != plain


def test_without_a_question_relevance_falls_back_to_even_spacing_in_any_company():
    asked, bare = noise_image((6, 7), 10, seed=12, words=2), noise_image((5, 6), 7, seed=13)
    first, second, third = reduce([bare, asked, bare], "relevance")
    assert torch.equal(first.kept, lattice(5, 6, 7))
    assert torch.equal(third.kept, first.kept)
    assert torch.equal(second.kept, reduce([asked], "relevance")[0].kept)
    assert (first.relevance is None, second.relevance is None) == (True, False)


@pytest.mark.parametrize("method", ["maxmin", "dpp", "coverage", "saliency", "relevance"])
def test_comparators_claim_no_focus(method: str):
    assert not reduce([noise_image((5, 6), 7, seed=14, words=2)], method)[0].is_focus.any()


@pytest.mark.parametrize("method", ["maxmin", "dpp", "coverage"])
def test_a_smaller_budget_keeps_the_first_picks_of_a_larger_one(method: str):
    image = noise_image((6, 7), 30, seed=15, words=2)
    fewer = ImageTokens(image.rows, image.grid, image.query, 11)
    assert picked(fewer, method) == picked(image, method)[:11]
