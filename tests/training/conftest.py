"""What the tests of every training share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import set_num_threads  # now: an engine on a CPU leaves one in its place that does nothing


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Steps this small gain nothing from a second thread, and on a busy machine each waits for the other."""
    threads = torch.get_num_threads()
    set_num_threads(1)
    yield
    set_num_threads(threads)
