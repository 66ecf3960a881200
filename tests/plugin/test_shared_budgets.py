"""Ways to split one budget among pictures, as the evaluation compares them."""

from __future__ import annotations

import pytest

from sppruner_vllm.evaluation.shared_budgets import SPLITS, alike, by_size, by_size_and_detail


@pytest.mark.parametrize("split", SPLITS.values(), ids=SPLITS)
@pytest.mark.parametrize("total", [4, 37, 200, 320])
def test_every_split_gives_exactly_the_budget(split, total):
    kept = split([256, 64], [0.4, 0.0], total)
    assert sum(kept) == total
    assert all(2 <= own <= most for own, most in zip(kept, (256, 64), strict=True))


def test_they_differ_in_what_they_go_by():
    assert by_size([256, 64], [0.4, 0.0], 100) == [80, 20]
    assert alike([256, 64], [0.4, 0.0], 100) == [50, 50]
    assert alike([256, 30], [0.4, 0.0], 100) == [70, 30]
    detailed, plain = by_size_and_detail([100, 100], [1.0, 0.0], 100)
    assert (detailed, plain) == (80, 20)
