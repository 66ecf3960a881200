"""Ranking before the merger: tokens are compared by their patches, the question by the rows."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from reduction_scenes import noise_image, seeded
from sppruner_vllm.reduction import BUILTIN_METHODS, ImageTokens, get_method, reduce
from sppruner_vllm.reduction.core.batch import patch_means

GRID = (8, 9)
RANKING = sorted(name for name in BUILTIN_METHODS if "merger_input" in get_method(name).options)


def image(seed: int, words: int = 0, patches: int = 4, width: int = 12) -> ImageTokens:
    plain = noise_image(GRID, 15, seed=seed, words=words)
    given = torch.randn(len(plain.rows), patches, width, generator=seeded(seed + 50))
    return replace(plain, merger_input=given)


def test_the_methods_that_compare_tokens_can_do_so_before_the_merger():
    assert RANKING == ["coverage", "dpp", "focus_context", "maxmin", "saliency"]


@pytest.mark.parametrize("method", RANKING)
def test_without_a_question_only_the_patches_count(method: str):
    given = image(1)
    as_rows = replace(given, rows=patch_means(given.merger_input), merger_input=None)
    mine, other = reduce([given], method)[0], reduce([as_rows], method)[0]
    assert torch.equal(mine.scores, other.scores)
    assert not torch.equal(mine.kept, reduce([replace(given, merger_input=None)], method)[0].kept)


@pytest.mark.parametrize("method", ["coverage", "dpp", "focus_context"])
def test_the_question_is_compared_with_the_rows(method: str):
    given = image(2, words=6)
    relevance = reduce([given], method)[0].relevance
    assert relevance is not None
    assert torch.equal(relevance, reduce([replace(given, merger_input=None)], method)[0].relevance)


@pytest.mark.parametrize("method", sorted(BUILTIN_METHODS))
def test_company_with_patches_and_without_changes_nothing(method: str):
    images = [
        image(3, words=5),
        noise_image(GRID, 9, seed=4, words=2),
        image(5, width=20),
        noise_image((5, 5), 7, seed=6),
        replace(noise_image((4, 6), 8, seed=7), merger_input=torch.randn(24, 1, 20, generator=seeded(8))),
    ]
    for one, selection in zip(images, reduce(images, method), strict=True):
        assert torch.equal(selection.scores, reduce([one], method)[0].scores)


def test_every_patch_counts_alike_whatever_its_norm():
    given = image(9).merger_input
    assert given is not None
    loud = given.clone()
    loud[:, 1] *= 1000
    assert torch.allclose(patch_means(loud), patch_means(given), atol=1e-5)
    assert patch_means(torch.full((3, 2, 4), torch.inf)).eq(0).all()
    assert patch_means(torch.zeros(3, 2, 4)).eq(0).all()
