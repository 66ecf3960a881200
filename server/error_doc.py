"""Writes the table of error codes in docs/use/api.md from the codes themselves.

`python -m sppruner_server.error_doc [--check] [FILE]`. With --check nothing is written, and the status is 1 when the
table is not what would be written.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from .error_codes import CODES, Code
from .refusal import ANTHROPIC_TYPES, INVALID_REQUEST, OPENAI_TYPES

COMMAND: Final = "python -m sppruner_server.error_doc"
DEFAULT_FILE: Final = Path("docs/use/api.md")
BEGIN: Final = f"<!-- codes: written by `{COMMAND}` from server/error_codes.py -->\n"
END: Final = "<!-- end of codes -->\n"


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


def current(page: str) -> str:
    """The page with its table as it should be.

    Raises:
        ValueError: the page lacks a mark.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError("the marks of the table are not there")
    return before + begin + codes_table() + end + after


def main(argv: Sequence[str] | None = None) -> int:
    """Write the table or check it; the exit status."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Write the error codes into docs/use/api.md.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the file is not current")
    parser.add_argument("file", nargs="?", type=Path, default=DEFAULT_FILE, help=f"default: {DEFAULT_FILE}")
    options = parser.parse_args(argv)
    page = options.file.read_text(encoding="utf-8")
    if options.check:
        if page == current(page):
            return 0
        print(f"{options.file} is not current: run `{COMMAND}`", file=sys.stderr)
        return 1
    options.file.write_text(current(page), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
