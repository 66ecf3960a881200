"""What is peculiar to a family stands in its file of `families/`, and nowhere else in what runs."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import sppruner_vllm
from sppruner_vllm.families import ARCHITECTURES, PREPARED

PACKAGE = Path(sppruner_vllm.__file__).parent
OFFLINE = {"demo", "evaluation", "families"}
FACTS = re.compile(
    r"spatial_merge|merge_size|grid_thw|second_per_grid|fullatt|window_index|pixel_values|image_token_i|vision_(start|end)"
    r"|<\|\w+\|>|<image>|deepstack|USER:|ASSISTANT:|multi_modal_projector|vision_feature|\bln_q\b|iter_mm_grid|_get_vision_info"
)
"""Without `image_embeds`, which is also vLLM's name of a part of a message, whatever the family."""


def words(source: str) -> Iterator[str]:
    """Every name and every text of a module that is not a docstring."""
    tree = ast.parse(source)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value
        elif isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr


def facts(folder: Path, skipped: set[str]) -> dict[str, set[str]]:
    found = {
        path.relative_to(folder.parent).as_posix(): {word for word in words(path.read_text()) if FACTS.search(word)}
        for path in folder.rglob("*.py")
        if skipped.isdisjoint(path.relative_to(folder).parts)
    }
    return {name: said for name, said in found.items() if said}


def test_no_family_is_known_outside_its_file() -> None:
    assert facts(PACKAGE, OFFLINE) == {}
    assert facts(PACKAGE.parent / "server", set()) == {}


def test_the_search_finds_what_it_looks_for() -> None:
    assert "sppruner_vllm/families/qwen.py" in facts(PACKAGE, {"demo", "evaluation"})


def test_every_architecture_has_its_class_in_the_file_it_names() -> None:
    for architecture, module in ARCHITECTURES.items():
        tree = ast.parse((PACKAGE / "families" / f"{module.rpartition('.')[2]}.py").read_text())
        classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
        assert architecture in classes
        methods = {node.name for node in classes[architecture].body if isinstance(node, ast.FunctionDef)}
        assert ("prepare_config" in methods) == (architecture in PREPARED)
