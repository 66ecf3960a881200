"""What the HTTP tests of this folder share beside the server of tests/conftest.py."""

from __future__ import annotations

import pytest

from serving import data_url, png


@pytest.fixture(scope="session")
def picture() -> str:
    """A 1008x1008 image: 36 x 36 = 1296 visual tokens on Qwen2.5-VL."""
    return data_url(png(1008, 1008))
