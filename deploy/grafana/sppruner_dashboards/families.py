"""Which metric families there are, ours and vLLM's, as the code defines them, and which of them a query names.

`generate.py --check` compares the two. vLLM's are read from its source without importing it: that would load torch.
"""

from __future__ import annotations

import ast
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Final

_NAME: Final = re.compile(r"[a-zA-Z_:][\w:]*(?=\{)|(?<=label_values\()[a-zA-Z_:][\w:]*(?=,)")
_HISTOGRAM_PART: Final = re.compile(r"_(bucket|sum|count)$")
_KINDS: Final = {"_counter_cls": "counter", "_gauge_cls": "gauge", "_histogram_cls": "histogram"}


def samples_in(expr: str) -> list[str]:
    """The sample names that a query or a variable reads."""
    return _NAME.findall(expr)


def families_in(expr: str) -> list[str]:
    """The families that a query or a variable reads, as /metrics names them."""
    return [_HISTOGRAM_PART.sub("", name) for name in samples_in(expr)]


def defined() -> dict[str, str]:
    """Name and kind of every family that a dashboard may name, as /metrics names them."""
    return {**of_ours(), **of_vllm()}


def of_ours() -> dict[str, str]:
    """Name and kind of our families."""
    from sppruner_vllm.metrics.families import FAMILIES  # here: making the JSON needs no environment

    return {family.scraped_name: family.kind for family in FAMILIES}


def of_vllm() -> dict[str, str]:
    """Name and kind of the families that vLLM's engine statistics define.

    Raises:
        LookupError: vLLM is not installed, or keeps them elsewhere.
    """
    spec = find_spec("vllm")
    if spec is None or spec.origin is None:
        raise LookupError("vLLM is not installed")
    source = Path(spec.origin).parent / "v1" / "metrics" / "loggers.py"
    if not source.is_file():
        raise LookupError(f"vLLM has no {source.name} where its families were defined")
    found: dict[str, str] = {}
    for node in ast.walk(ast.parse(source.read_text())):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        kind = _KINDS.get(node.func.attr)
        for keyword in node.keywords:
            if kind and keyword.arg == "name" and isinstance(keyword.value, ast.Constant):
                name = str(keyword.value.value)
                found[f"{name}_total" if kind == "counter" else name] = kind
    if not found:
        raise LookupError(f"{source.name} of vLLM defines no family in a way we can read")
    return found
