"""How several processes share the tests: what uses one server or one engine stays together, the rest goes file by file.

Groups by marks would say the same, but pytest-xdist 3.8 does not see them under pytest 9.2 (its issue 1386).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from xdist.scheduler import LoadScopeScheduling

if TYPE_CHECKING:
    import pytest

FIRST: Final = "tests/training/"
"""One file of minutes: handed out last, it would run alone at the end."""

TOGETHER: Final = {
    "tests/conformance/": "server",
    "tests/server/": "server",
    "tests/engine/test_beds": "families",
    "tests/engine/test_family": "families",
    "tests/engine/test_videos": "families",
    "tests/engine/test_demo_answers": "demo model",
    "tests/engine/": "engine",
}
"""How the names begin of files that share a server or engines, and what they share: the first that fits."""


class ByEngine(LoadScopeScheduling):
    """Hands out what stays together whole."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return next((shared for begins, shared in TOGETHER.items() if file.startswith(begins)), file)


def longest_first(items: list[pytest.Item]) -> None:
    """Put what takes one process longest before all that can be shared out around it."""
    items.sort(key=lambda item: not item.nodeid.startswith(FIRST))
