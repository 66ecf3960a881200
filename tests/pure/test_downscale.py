"""The token grid of a smaller image, and the image at that size."""

from __future__ import annotations

import math
import random

import pytest
from PIL import Image
from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

from sppruner_vllm.planning.smaller import MOST_ASPECT, MOST_STRETCH, Grid, resize, smaller_grid
from sppruner_vllm.recipes import get_recipe, halfway, request_methods
from sppruner_vllm.reduction import get_method, method_names

LEAST = 4


@pytest.mark.parametrize(
    ("grid", "budget", "smaller"),
    [
        ((36, 36), 324, (18, 18)),
        ((36, 36), 288, (16, 18)),
        ((36, 36), 144, (12, 12)),
        ((16, 16), 57, (7, 8)),
        ((8, 16), 32, (4, 8)),
        ((16, 8), 32, (8, 4)),
        ((16, 16), 15, (3, 4)),
        ((2, 30), 6, (1, 6)),
    ],
)
def test_the_budget_is_spent_without_bending_the_picture(grid: Grid, budget: int, smaller: Grid) -> None:
    found = smaller_grid(grid, budget, LEAST)
    assert found in (smaller, smaller[::-1])


def random_cases() -> list[tuple[Grid, int, int]]:
    """Grids of at least 64 tokens, with a budget below and a family's minimum."""
    draw = random.Random(3)
    grids = [(draw.randint(1, 40), draw.randint(1, 40)) for _ in range(300)]
    return [
        (grid, draw.randint(2, math.prod(grid) - 1), draw.choice((4, 64))) for grid in grids if math.prod(grid) >= 64
    ]


def test_a_smaller_grid_fits_and_none_that_fits_is_finer_along_its_coarser_side() -> None:
    for grid, budget, least in random_cases():
        limit = max(budget, least)
        fitting = [
            (rows, columns)
            for rows in range(1, grid[0] + 1)
            for columns in range(1, grid[1] + 1)
            if least <= rows * columns <= limit
        ]
        found = smaller_grid(grid, budget, least)
        if fitting:
            assert found in fitting
            assert finest(found, grid) == max(finest(other, grid) for other in fitting)
        else:
            assert limit < math.prod(found) <= math.prod(grid), "only the family's minimum goes beyond the budget"


def finest(smaller: Grid, grid: Grid) -> float:
    """Scale of the side that shrinks most."""
    return min(smaller[0] / grid[0], smaller[1] / grid[1])


def test_an_equally_fine_grid_that_wastes_less_is_taken_unless_it_bends_the_picture_far() -> None:
    assert smaller_grid((36, 36), 80, LEAST) in ((8, 10), (10, 8))
    rows, columns = smaller_grid((36, 36), 15, LEAST)
    assert max(rows, columns) <= MOST_STRETCH * min(rows, columns)


@pytest.mark.parametrize(("grid", "budget"), [((2, 2), 2), ((1, 4), 3), ((1, 3), 2)])
def test_an_image_at_its_familys_minimum_stays(grid: Grid, budget: int) -> None:
    assert smaller_grid(grid, budget, LEAST) == grid


def test_a_budget_below_the_minimum_gives_the_minimum() -> None:
    assert smaller_grid((10, 10), 2, LEAST) == (2, 2)
    assert smaller_grid((1, 9), 2, LEAST) == (1, 4)
    assert smaller_grid((7, 11), 64, 64) == (6, 11), "no grid inside has 64 tokens: the next larger one"


def test_a_strip_stays_within_the_aspect_that_the_image_processor_takes() -> None:
    rows, columns = smaller_grid((1, 291), 262, LEAST)
    assert (rows, columns) == (1, MOST_ASPECT)


def test_qwens_image_processor_leaves_the_smaller_image_alone() -> None:
    for grid, budget, least in random_cases():
        rows, columns = smaller_grid(grid, budget, least)
        pixels = rows * 28, columns * 28
        assert smart_resize(*pixels, factor=28, min_pixels=least * 28**2, max_pixels=12845056) == pixels


def test_halfway_is_the_geometric_mean_and_never_below_the_budget() -> None:
    assert halfway(1296, 144) == 432
    assert all(kept <= halfway(total, kept) <= total for total in range(2, 60) for kept in range(1, total))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "1", "I;16"])
def test_an_image_of_any_mode_comes_out_in_rgb_at_the_pixels_of_its_grid(mode: str) -> None:
    smaller = resize(Image.new(mode, (500, 300)), (3, 5), 28)
    assert (smaller.mode, smaller.size) == ("RGB", (140, 84))


def test_shrinking_averages_what_it_drops() -> None:
    stripes = Image.new("L", (560, 560))
    stripes.putdata([255 * (column % 2) for _ in range(560) for column in range(560)])
    values = {value for pixel in resize(stripes, (2, 2), 28).getdata() for value in pixel}
    assert max(values) - min(values) < 20, "stripes finer than a pixel become grey, not moire"


def test_requests_may_name_every_selection_method_and_the_two_that_resize() -> None:
    assert request_methods() == method_names() | {"downscale", "hybrid"}


def test_downscale_leaves_nothing_for_the_worker_and_needs_no_query() -> None:
    recipe = get_recipe("downscale")
    assert (recipe.selects, recipe.uses_query) == (None, False)


def test_hybrid_ends_in_a_selection_that_reads_the_query() -> None:
    recipe = get_recipe("hybrid")
    assert recipe.selects == "focus_context"
    assert recipe.uses_query == get_method("focus_context").uses_query
    assert recipe.shrinks_to is not None


def test_any_other_name_is_a_selection_alone() -> None:
    recipe = get_recipe("uniform")
    assert (recipe.shrinks_to, recipe.selects) == (None, "uniform")
