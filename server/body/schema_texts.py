"""Schemas that come as text, read once: what looks at schemas walks over them as over those that come as objects."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from .content.reading import fail_because

FIELDS: Final = ("response_format", "structured_outputs", "text", "output_config", "tools")
"""Fields of a body that say what an answer must follow."""

_MAYBE_JSON: Final = frozenset({"json", "structural_tag", "schema"})


@dataclass(frozen=True, slots=True)
class Text:
    """A text that may be JSON. value: what it holds; None where it is none, which the library says."""

    text: str
    value: Any


def opened(document: Any) -> dict[str, Any]:
    """Those of FIELDS that a body has, with a Text in place of each text that may hold a schema.

    Args:
        document: that was read, good or not.

    Raises:
        BadBody: a text nests deeper than can be read.
    """
    found = {name: document[name] for name in FIELDS if name in document} if isinstance(document, Mapping) else {}
    for name, value in found.items():
        try:
            found[name] = _opened(value)
        except RecursionError:  # the body's own levels are counted before
            fail_because((name,), "a schema nests too deep")
    return found


def _opened(node: Any) -> Any:
    if isinstance(node, list):
        return [_opened(entry) for entry in node]
    if isinstance(node, dict):
        return {
            name: _text(value) if name in _MAYBE_JSON and isinstance(value, str) else _opened(value)
            for name, value in node.items()
        }
    return node


def _text(text: str) -> Text:
    try:
        return Text(text, _opened(json.loads(text)))
    except ValueError:
        return Text(text, None)


def plain(node: Any) -> Any:
    """The same with its texts as they were sent."""
    if isinstance(node, list):
        return [plain(entry) for entry in node]
    if isinstance(node, dict):
        return {name: plain(value) for name, value in node.items()}
    return node.text if isinstance(node, Text) else node
