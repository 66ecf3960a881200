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

    command: writes it. about: what the command does, for its help. file: the page, from the checkout's folder.
    begin, end: the marks, whole lines. table: makes what stands between them.
    """

    command: str
    about: str
    file: Path
    begin: str
    end: str
    table: Callable[[], str]

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
        parser = argparse.ArgumentParser(prog=self.command, description=self.about)
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
