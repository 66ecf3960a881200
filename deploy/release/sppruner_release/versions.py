"""Every place that states the version: a release in which two of them differ is not made."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_ONCE: Final = (
    ("sppruner_vllm/__init__.py", r'^__version__: Final = "(.+)"$'),
    ("CHANGELOG.md", r"^## (\d\S*)"),
)
"""Files that state it in one line; of more lines, the first counts. What is unreleased has no version yet."""

_ANYWHERE: Final = re.compile(
    r"""sppruner-vllm:(?P<image>\d[\w.]*)-[cg]pu            # the tag of an image
    | sppruner_vllm-(?P<wheel>\d[\w.]*?)-py3                # a file to install
    | ^ARG\ VERSION=(?P<label>\S+)                          # the label of an image
    | ^(?:appVersion|version):\ "?(?P<chart>\d[\w.]*)"?$    # a chart
    | helm\.sh/chart:\ sppruner-vllm-(?P<from>\d[\w.]*)     # what a chart made
    | app\.kubernetes\.io/version:\ "?(?P<app>\d[\w.]*)
    """,
    re.VERBOSE | re.MULTILINE,
)
_READ: Final = ("README.md", "Dockerfile", "docs/**/*.md", "deploy/**/*.yaml", "deploy/**/*.sh", "deploy/**/*.md")


@dataclass(frozen=True, slots=True)
class Stated:
    """A version and where it stands: a file's path below the checkout and, where it is one of many, the line."""

    place: str
    version: str


def project_version(root: Path) -> str:
    """The version that pyproject.toml gives, which all others have to be."""
    return str(tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"])


def stated(root: Path) -> Iterator[Stated]:
    """Every other statement of the version.

    Raises:
        LookupError: a file that has to state it does not.
    """
    for name, pattern in _ONCE:
        found = re.search(pattern, (root / name).read_text(), re.MULTILINE)
        if found is None:
            raise LookupError(f"{name} states no version")
        yield Stated(name, found[1])
    for file in sorted({file for pattern in _READ for file in root.glob(pattern)}):
        text = file.read_text()
        for found in _ANYWHERE.finditer(text):
            line = text.count("\n", 0, found.end()) + 1
            yield Stated(f"{file.relative_to(root)}:{line}", found[found.lastgroup or 0])


def wrong(root: Path) -> list[Stated]:
    """Statements of another version than the project's."""
    version = project_version(root)
    return [place for place in stated(root) if place.version != version]
