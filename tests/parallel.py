"""How several processes share the tests: what uses one server or one engine stays together, the rest goes file by file.

Groups by marks would say the same, but pytest-xdist 3.8 does not see them under pytest 9.2 (its issue 1386).
"""

from __future__ import annotations

from typing import Final

from xdist.scheduler import LoadScopeScheduling

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
