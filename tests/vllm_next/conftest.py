"""The newer release is tried while the training trains: each takes one core for a minute and more."""

from __future__ import annotations

import pytest

BEGINS = "test_the_newest_supported_release_is_tried"
BESIDE = "training"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What begins it comes before the first test of that folder; what waits for its end stays where it is."""
    begins = next((place for place, item in enumerate(items) if item.name == BEGINS), None)
    beside = next((place for place, item in enumerate(items) if item.path.parent.name == BESIDE), None)
    if begins is not None and beside is not None and beside < begins:
        items.insert(beside, items.pop(begins))
