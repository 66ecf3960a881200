"""What the selection asks of a device: counted on tensors without data, where the code runs as on an accelerator."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from reduction_scenes import noise_image
from sppruner_vllm.evaluation.operations import Operations
from sppruner_vllm.reduction import BUILTIN_METHODS, ImageTokens, reduce
from sppruner_vllm.wire import MOST_TOKENS

WAITS = {"_local_scalar_dense", "nonzero", "masked_select", "index", "equal", "is_nonzero", "unique_dim", "_unique2"}
"""Operations that make the host wait for a device, or whose result has a size that only the device knows."""


def asked(count: int, side: int, width: int, *, budget: int | None = None, words: int = 24) -> Operations:
    """What so many square images ask for, once the tables of their grid are made."""
    rows = torch.empty(side * side, width, dtype=torch.bfloat16, device="meta")
    query = torch.empty(words, width, dtype=torch.bfloat16, device="meta")
    images = [ImageTokens(rows, (side, side), query, budget or side * side * 2 // 9)] * count
    mean = torch.empty(width, device="meta")
    reduce(images, text_mean=mean)
    with Operations() as operations:
        reduce(images, text_mean=mean)
    return operations


@pytest.mark.parametrize("method", BUILTIN_METHODS)
def test_the_host_never_waits_for_the_device(method: str):
    """Tensors without data stand for any accelerator; only a CPU, which has no queue, may be asked for a value."""
    found = [noise_image((9, 7), 20, seed=1, words=5), noise_image((6, 6), 7, seed=2)]
    images = [replace(image, rows=image.rows.to("meta"), query=_meta(image.query)) for image in found]
    with Operations() as operations:
        reduce(images, method, text_mean=torch.zeros(32, device="meta"))
    assert operations.names
    assert not WAITS & set(operations.names)


def _meta(query: torch.Tensor | None) -> torch.Tensor | None:
    return None if query is None else query.to("meta")


def test_what_makes_a_host_wait_is_noticed():
    with Operations() as operations:
        assert torch.ones(3).sum() > 2
        torch.ones(3)[torch.tensor([True, False, True])]
    assert {"_local_scalar_dense", "index"} <= set(operations.names)


def test_more_images_cost_no_launches_but_their_copies():
    """Of its rows, of its query and of the order in which its grid is walked."""
    one, eight = (asked(count, 36, 256).launches for count in (1, 8))
    assert eight - one <= 7 * 3


def test_a_larger_budget_costs_no_launches():
    assert asked(1, 36, 256, budget=10).launches == asked(1, 36, 256, budget=1000).launches


@pytest.mark.parametrize("width", [2048, 3584])
def test_eight_large_images_stay_one_batch_of_few_launches(width: int):
    """600 launches of 5 microseconds would be the three milliseconds that the selection may take."""
    assert asked(8, 36, width).launches <= 505


@pytest.mark.parametrize("width", [256, 3584])
def test_memory_grows_with_the_tokens_and_not_with_their_square(width: int):
    small, large = (asked(1, side, width, words=128) for side in (64, 256))
    assert MOST_TOKENS == 256**2
    assert large.largest == MOST_TOKENS * width
    assert large.peak < 16.5 * small.peak


def test_memory_beyond_the_rows_is_a_share_of_them():
    """In float32, at the width of a model and with the longest query that is read by default."""
    operations = asked(1, 128, 3584, words=128)
    assert operations.peak < 1.5 * 128**2 * 3584 * 4
