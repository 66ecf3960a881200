"""Finds our fields where they would be lost: misspelt, or in a place that nobody reads.

vLLM takes any field that it does not know and drops it, so `keepratio: 0.2` would quietly cost the full price.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from typing import Any, Final
from urllib.parse import parse_qsl

from sppruner_vllm.planning.in_parts import PICTURE_FIELDS
from sppruner_vllm.request.fields import MAX_PIXELS
from sppruner_vllm.request.spelling import contained, meant

from ..errors.invalid_body import written
from ..errors.places import PROCESSOR_KWARGS, Place
from ..errors.refusal import Refusal
from .content.document import CHAT, VISUAL_TOKENS
from .fields import INCLUDE, SELECTION

"""Where plain vLLM takes our fields."""

FREE: Final = frozenset(
    {
        "metadata",
        "tools",
        "functions",
        "response_format",
        "structured_outputs",
        "text",
        "output_config",
        "logit_bias",
        "arguments",
        "parameters",
        "input_schema",
        "json_schema",
        "guided_json",
        "schema",
    }
)
"""Fields whose names below are the client's own to choose."""

_WITHIN: Final = frozenset({"arguments", "parameters", "input_schema", "json_schema", "schema"})
"""Those of them that stand inside another one; at the top they are where other servers have what is sampled."""

MOST_NAMES: Final = 1000
"""Different names of a body that are looked at, as each takes some microseconds."""


def misplaced(document: Any, query: bytes = b"", pictures: Container[Place] = ()) -> Refusal | None:
    """The refusal of the first field of ours that would be lost.

    Args:
        document: body of a request.
        query: of its URL.
        pictures: places of objects in which fields of one picture may stand.
    """
    for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if (field := meant(name)) is not None:
            return _refusal(field, name, "in the query of the URL")
    if not isinstance(document, dict):
        return None
    for place, name, field in _found(document, (), set()):
        if field == MAX_PIXELS and len(place) > 1 and place[0] == PROCESSOR_KWARGS:
            continue  # Qwen's image processor has it too
        if name == field and (place in ((), (PROCESSOR_KWARGS,)) or (name in PICTURE_FIELDS and place in pictures)):
            continue
        param = written((*place, name)) or name
        if place == () or place == (PROCESSOR_KWARGS,):
            return Refusal(400, "unknown_parameter", f"{param} is not a field; did you mean {field}?", param)
        return _refusal(field, param, f"in {written(place)}")
    return None


def misplaced_header(names: Iterable[str]) -> Refusal | None:
    """The refusal of the first header that names a field of ours; one that is only like one is somebody else's.

    Args:
        names: of the headers of a request.
    """
    for name in names:
        if (field := contained(name)) is not None:
            return _refusal(field, name, "in a header")
    return None


def misplaced_include(document: Any, path: str) -> Refusal | None:
    """The refusal of a wish for the selection where no usage could hold it.

    Args:
        document: body of a request. path: of the request.
    """
    wanted = document.get(INCLUDE) if isinstance(document, dict) else None
    if path in (CHAT, VISUAL_TOKENS) or not isinstance(wanted, list) or SELECTION not in wanted:
        return None
    return Refusal(400, "unknown_parameter", f"{SELECTION} may be included in {CHAT} alone", INCLUDE)


def _refusal(field: str, param: str, where: str) -> Refusal:
    also = " or in the part of a picture" if field in PICTURE_FIELDS else ""
    message = f"{field} belongs at the top level of the body{also}, not {where}"
    return Refusal(400, "unknown_parameter", message, param)


def _found(node: Any, place: Place, others: set[str]) -> Iterator[tuple[Place, str, str]]:
    """Names like ours in a document, each with the place of the object it stands in.

    Args:
        others: names that were found not to be.
    """
    if isinstance(node, list):
        for number, item in enumerate(node):
            if isinstance(item, dict | list):
                yield from _found(item, (*place, number), others)
        return
    for name, value in node.items():
        if name not in others and len(others) < MOST_NAMES:
            if (field := meant(name)) is not None:
                yield place, name, field
                continue
            others.add(name)
        free = name in FREE and bool(place or name not in _WITHIN)
        if isinstance(value, dict | list) and not free and not (name == "input" and "name" in node):
            yield from _found(value, (*place, name), others)
