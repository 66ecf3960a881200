"""What pages, code and configuration point at exists: links, headings, files, targets of the Makefile."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("sppruner_vllm/**/*.md")])
SOURCES = ("sppruner_vllm", "server", "loadtest", "deploy")
SUFFIXES = {".py", ".sh", ".yaml", ".yml"}

FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
SPAN = re.compile(r"`([^`\n]+)`")
PATH = re.compile(r"(?:sppruner_vllm|server|loadtest|deploy|tests|docs)/[\w./*-]*")
TARGET = re.compile(r"^([a-z0-9-]+):", re.MULTILINE)
MAKE = re.compile(r"(?:^|`|&& )make ([a-z][a-z0-9-]*)", re.MULTILINE)
NAMED = re.compile(r"\bdocs/[\w/-]+\.md(?:#[\w-]+)?")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return FENCE.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """The fragments that lead to its headings."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in HEADING.findall(prose(page))}


def is_broken(link: str, folder: Path, page: Path | None = None) -> bool:
    """Whether a link leads to no file, or to no heading; seen from a folder, and from a page for its own headings."""
    path, _, fragment = link.partition("#")
    target = folder / path if path else page
    return target is None or not target.exists() or bool(fragment and fragment not in anchors(target))


@each_page
def test_no_link_is_broken(page):
    links = [link for link in LINK.findall(prose(page)) if "://" not in link]
    assert [link for link in links if is_broken(link, page.parent, page)] == []


@pytest.mark.parametrize("link", ["docs/nowhere.md", "LICENSE#nothing", "#nothing"])
def test_a_broken_link_would_be_seen(link):
    assert is_broken(link, ROOT, ROOT / "README.md")


def test_the_index_lists_every_page():
    index = ROOT / "docs" / "README.md"
    listed = {(index.parent / link).resolve() for link in LINK.findall(index.read_text())}
    assert set((ROOT / "docs").glob("*/*.md")) <= listed


@each_page
def test_files_that_a_page_names_exist(page):
    named = [span.split("::")[0].split()[0] for span in SPAN.findall(prose(page)) if PATH.match(span)]
    patterns = [path.rstrip("/").replace("NAME", "*") for path in named if "FILE" not in path]
    assert [pattern for pattern in patterns if not list(ROOT.glob(pattern))] == []


@each_page
def test_targets_that_a_page_names_exist(page):
    assert set(MAKE.findall(page.read_text())) <= set(TARGET.findall((ROOT / "Makefile").read_text()))


def test_pages_that_code_and_configuration_name_exist():
    files = [file for folder in SOURCES for file in (ROOT / folder).rglob("*") if file.suffix in SUFFIXES]
    named = [(str(file.relative_to(ROOT)), link) for file in files for link in NAMED.findall(file.read_text())]
    assert len(named) >= 40
    assert [found for found in named if is_broken(found[1], ROOT)] == []
