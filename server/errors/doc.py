"""Writes the table of error codes in docs/use/api.md from the codes themselves.

`python -m sppruner_server.errors.doc [--check] [FILE]`. With --check nothing is written, and the status is 1 when the
table is not what would be written.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from sppruner_vllm.generated_table import GeneratedTable

from .codes import CODES, Code
from .refusal import ANTHROPIC_TYPES, INVALID_REQUEST, OPENAI_TYPES


def codes_table() -> str:
    """What stands between the two marks: a row for each status and its types, then one for each code."""
    statuses = sorted({code.status for code in CODES.values()})
    types = ["| status | `type` | `type` of `/v1/messages` |", "|---|---|---|", *map(_types, statuses)]
    rows = ["| `code` | status | what it is about |", "|---|---|---|", *(_row(*item) for item in CODES.items())]
    return "\n".join([*types, "", *rows, ""])


def _types(status: int) -> str:
    openai, anthropic = (types.get(status, INVALID_REQUEST) for types in (OPENAI_TYPES, ANTHROPIC_TYPES))
    return f"| {status} | `{openai}` | `{anthropic}` |"


def _row(name: str, code: Code) -> str:
    return f"| `{name}` | {code.status} | {code.meaning} |"


TABLE: Final = GeneratedTable(
    name="codes",
    command="python -m sppruner_server.errors.doc",
    source="server/errors/codes.py",
    file=Path("docs/use/api.md"),
    table=codes_table,
)


if __name__ == "__main__":
    sys.exit(TABLE.main())
