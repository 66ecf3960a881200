"""A table of a documentation page that is written from the code it describes, between two marks."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class GeneratedTable:
    """One such table.

    name: of what it lists. command: writes it. source: the code that has what it lists. file: the page, from the
    checkout's folder. table: makes what stands between the marks.
    """

    name: str
    command: str
    source: str
    file: Path
    table: Callable[[], str]

    @property
    def begin(self) -> str:
        """The mark before the table, a whole line."""
        return f"<!-- {self.name}: written by `{self.command}` from {self.source} -->\n"

    @property
    def end(self) -> str:
        """The mark behind it."""
        return f"<!-- end of {self.name} -->\n"

    def current(self, page: str) -> str:
        """The page with its table as it should be.

        Raises:
            ValueError: the page lacks a mark.
        """
        before, begin, rest = page.partition(self.begin)
        _, end, after = rest.partition(self.end)
        if not (begin and end):
            raise ValueError("the marks of the table are not there")
        return before + begin + self.table() + end + after

    def main(self, argv: Sequence[str] | None = None) -> int:
        """Write the table or check it; the exit status."""
        parser = argparse.ArgumentParser(prog=self.command, description=f"Write the {self.name} into {self.file}.")
        parser.add_argument("--check", action="store_true", help="write nothing; fail when the file is not current")
        parser.add_argument("file", nargs="?", type=Path, default=self.file, help=f"default: {self.file}")
        options = parser.parse_args(argv)
        page = options.file.read_text(encoding="utf-8")
        if options.check:
            if page == self.current(page):
                return 0
            print(f"{options.file} is not current: run `{self.command}`", file=sys.stderr)
            return 1
        options.file.write_text(self.current(page), encoding="utf-8")
        return 0
