"""Whether an answer can be held to a JSON schema: where xgrammar would leave something out, llguidance may not.

A schema that is sent for the answer, or for a tool that says `strict`, is refused where neither holds it. A tool that
does not say so, and an answer that says it need not be strict, are held to what can be held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from typing import Any, Final

from llguidance import LLMatcher
from vllm.v1.structured_output.backend_guidance import (
    has_guidance_unsupported_json_features,
    serialize_guidance_grammar,
)
from vllm.v1.structured_output.backend_types import StructuredOutputOptions

from ..errors.places import Place
from .content.reading import fail_because
from .left_out import NEVER, left_out
from .schema_texts import Text, plain

_FORMATS: Final[tuple[Place, ...]] = (
    ("response_format", "json_schema", "schema"),
    ("structured_outputs", "json"),
    ("text", "format", "schema"),
    ("output_config", "format", "schema"),
)
_TAGS: Final[tuple[Place, ...]] = (("response_format",), ("structured_outputs", "structural_tag"))
"""Where schemas may stand between words, for which there is xgrammar alone."""
_TOOLS: Final = "tools"
_OF_TOOL: Final[tuple[Place, ...]] = (("function", "parameters"), ("parameters",), ("input_schema",))
_STRICT: Final = "strict"


def refuse_unheld(schemas: Mapping[str, Any]) -> None:
    """Refuse a body with a schema that the answer might break.

    Args:
        schemas: fields of the body that have any, their texts opened (schema_texts.py).

    Raises:
        BadBody: names the keyword that cannot be held to.
    """
    for place, schema in _schemas(schemas):
        if (found := left_out(schema)) is not None and not second_holds(plain(schema)):
            _refuse(place, found)
    for place, schema in _between_words(schemas):
        if (found := left_out(schema)) is not None:
            _refuse(place, found)


def _refuse(place: Place, found: Place) -> None:
    where = "" if found[-1] in NEVER else " in a schema like this one"
    fail_because((*place, *found), f"no answer can be held to this keyword{where}", "unsupported_parameter")


def second_holds(schema: Any) -> bool:
    """Whether llguidance, which vLLM asks where xgrammar cannot, holds an answer to all of a schema."""
    if not isinstance(schema, dict) or has_guidance_unsupported_json_features(schema):
        return False
    try:
        grammar = serialize_guidance_grammar(StructuredOutputOptions.JSON, schema)
        return not LLMatcher.validate_grammar(grammar, None)
    except (ValueError, KeyError, TypeError):
        return False


def leaving_none_out(unsupported: Callable[[dict[str, Any]], bool]) -> Callable[[dict[str, Any]], bool]:
    """vLLM's `has_xgrammar_unsupported_json_features`, finding all that xgrammar leaves out and another holds."""

    @wraps(unsupported)
    def found(schema: dict[str, Any]) -> bool:
        return unsupported(schema) or (left_out(schema) is not None and second_holds(schema))

    return found


def _schemas(fields: Mapping[str, Any]) -> Iterator[tuple[Place, Any]]:
    """Those of the answer, unless it need not be strict, and of tools that must."""
    for place in _FORMATS:
        holder = _reached(fields, place[:-1])
        if isinstance(holder, dict) and holder.get(_STRICT) is not False:
            yield place, _reached(holder, place[-1:])
    tools = fields.get(_TOOLS)
    for number, tool in enumerate(tools if isinstance(tools, list) else ()):
        for place in _OF_TOOL:
            holder = _reached(tool, place[:-1])
            if isinstance(holder, dict) and holder.get(_STRICT) is True:
                yield (_TOOLS, number, *place), _reached(holder, place[-1:])


def _reached(node: Any, place: Place) -> Any:
    """What stands at a place, a text opened; None for nothing."""
    for step in place:
        node = node.get(step) if isinstance(node, dict) else None
    return node.value if isinstance(node, Text) else node


def _between_words(fields: Mapping[str, Any]) -> Iterator[tuple[Place, Any]]:
    for root in _TAGS:
        found = _reached(fields, root)
        if isinstance(found, dict) and (root[-1] == "structural_tag" or found.get("type") == "structural_tag"):
            yield from _in_tags(found, root)


def _in_tags(node: Any, place: Place) -> Iterator[tuple[Place, Any]]:
    if isinstance(node, list):
        for number, entry in enumerate(node):
            yield from _in_tags(entry, (*place, number))
    elif isinstance(node, dict):
        for name, value in node.items():
            here = (*place, name)
            if name in ("schema", "json_schema"):
                yield here, value.value if isinstance(value, Text) else value
            else:
                yield from _in_tags(value, here)
