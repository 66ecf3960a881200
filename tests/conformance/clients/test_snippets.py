"""The page of clients, with those that are installed here."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest
from snippets import run_snippet, snippets, words_of
from tried import Endpoint

PYTHON = {
    "openai_python.py": "openai",
    "anthropic_python.py": "anthropic",
    "langchain_python.py": "langchain_openai",
    "litellm_python.py": "litellm",
}
ELSEWHERE = {"openai_node.mjs", "ai_sdk.mjs", "litellm_proxy.yaml", "litellm_proxy.py"}
"""They run where node's packages are, and the proxy's, under test_everyone.py."""

PRESENT = [name for name, module in PYTHON.items() if importlib.util.find_spec(module) is not None]


def test_every_block_of_the_page_is_run_by_somebody() -> None:
    assert set(snippets()) == {*PYTHON, *ELSEWHERE, "curl.sh"}


@pytest.mark.parametrize("name", PRESENT)
def test_a_snippet_of_python(endpoint: Endpoint, tmp_path: Path, name: str) -> None:
    run_snippet(name, [sys.executable], words_of(endpoint), tmp_path)


def test_the_snippet_of_curl(endpoint: Endpoint, tmp_path: Path) -> None:
    assert shutil.which("curl"), "curl is not installed"
    run_snippet("curl.sh", ["sh"], words_of(endpoint), tmp_path)
