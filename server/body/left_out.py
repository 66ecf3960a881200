"""What xgrammar leaves out of a JSON schema, without a word to anybody: an answer may then break the schema.

Found by giving it each keyword alone and beside others, with an instance that it must take and one that it must not
(xgrammar 0.2.8, tests/plugin/test_left_out.py). vLLM's own list (v1/structured_output/backend_xgrammar.py) is shorter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from ..errors.places import Place

NEVER: Final = (
    *("not", "if", "dependentRequired", "dependentSchemas", "dependencies", "contains", "uniqueItems"),
    *("$dynamicRef", "$recursiveRef"),
)
"""Keywords that nothing behind this server holds an answer to."""

_OF_TYPE: Final[Mapping[str, frozenset[str]]] = {
    "object": frozenset(
        {
            *("properties", "required", "additionalProperties", "patternProperties", "propertyNames"),
            *("minProperties", "maxProperties", "unevaluatedProperties"),
        }
    ),
    "array": frozenset({"items", "prefixItems", "additionalItems", "minItems", "maxItems", "unevaluatedItems"}),
    "string": frozenset({"minLength", "maxLength", "pattern", "format"}),
    "number": frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}),
}
_TELLING: Final[Mapping[str, frozenset[str]]] = {
    "object": frozenset({"properties", "additionalProperties", "unevaluatedProperties"}),
    "array": frozenset({"items", "prefixItems", "unevaluatedItems"}),
}
"""Keywords from which it concludes that an object or array is meant, where no `type` says so."""
_LIMITS: Final = frozenset().union(*_OF_TYPE.values())

_VALUES: Final = ("const", "enum")
_BRANCHES: Final = ("anyOf", "oneOf", "allOf")
_REFERENCE: Final = "$ref"
_ALONE: Final = (_REFERENCE, *_VALUES, *_BRANCHES)
"""Of these it looks at the first, and at nothing beside it."""

_SCHEMA: Final = frozenset(
    {
        *("items", "additionalItems", "additionalProperties", "unevaluatedItems", "unevaluatedProperties"),
        "propertyNames",
    }
)
_SCHEMAS: Final = frozenset({*_BRANCHES, "prefixItems", "items"})
_NAMED_SCHEMAS: Final = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})

_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def left_out(schema: Any) -> Place | None:
    """The place of the first keyword that is left out; None where all of a schema is looked at.

    Args:
        schema: as it is sent, good or not.
    """
    for node, place in _nodes(schema):
        if (keyword := _of(node)) is not None:
            return (*place, keyword)
    return None


def _nodes(schema: Any) -> Iterator[tuple[dict[str, Any], Place]]:
    """The schema and all schemas in it, each with its place."""
    waiting: list[tuple[Any, Place]] = [(schema, ())]
    while waiting:
        node, place = waiting.pop()
        if not isinstance(node, dict):
            continue
        yield node, place
        for name, value in node.items():
            if name in _NAMED_SCHEMAS and isinstance(value, dict):
                waiting += [(inner, (*place, name, key)) for key, inner in value.items()]
            elif name in _SCHEMAS and isinstance(value, list):
                waiting += [(inner, (*place, name, number)) for number, inner in enumerate(value)]
            elif name in _SCHEMA:
                waiting.append((value, (*place, name)))


def _of(node: Mapping[str, Any]) -> str | None:
    """The keyword of one schema that is left out."""
    for name in NEVER:
        if name in node and _asks(name, node):
            return name
    limits = [name for name in node if name in _LIMITS]
    types = _types(node.get("type"))
    if types == ():
        return "type"
    first = next((name for name in _ALONE if name in node), None)
    if first is not None:
        return _beside(first, node, limits, types)
    if types is None:
        told = [kind for kind, telling in _TELLING.items() if telling & node.keys()]
        seen = _OF_TYPE[told[0]] if told else frozenset()
        if (unseen := next((name for name in limits if name not in seen), None)) is not None:
            return unseen
    if "pattern" in node and "format" in node:
        return "format"
    required, known = node.get("required"), node.get("properties", {})
    if not isinstance(required, list) or not isinstance(known, dict):
        return None  # which the library says
    if any(isinstance(name, str) and name not in known for name in required):
        return "required"
    return None


def _asks(name: str, node: Mapping[str, Any]) -> bool:
    """Whether such a keyword asks for something."""
    if name == "if":
        return "then" in node or "else" in node
    return node[name] not in (False, {}, []) or name in ("not", "contains")


def _beside(first: str, node: Mapping[str, Any], limits: Sequence[str], types: Sequence[str] | None) -> str | None:
    """What of a schema is left out beside the keyword that is looked at."""
    if limits:
        return limits[0]
    if (other := next((name for name in _ALONE if name in node and name != first), None)) is not None:
        return other
    if first == _REFERENCE:
        value = node[first]
        points = isinstance(value, str) and (value == "#" or value.startswith("#/"))
        return None if points else first
    if types is None:
        return None
    if first in _VALUES:
        values = [node[first]] if first == "const" else node[first]
        fits = not isinstance(values, list) or all(_is(value, types) for value in values)
        return None if fits else "type"
    branches = node[first] if isinstance(node[first], list) else []
    return None if all(_within(branch, types) for branch in branches) else "type"


def _types(value: Any) -> tuple[str, ...] | None:
    """What `type` says; None for nothing."""
    if isinstance(value, list):
        return tuple(one for one in value if isinstance(one, str))
    return (value,) if isinstance(value, str) else None


def _is(value: Any, types: Sequence[str]) -> bool:
    """Whether a value is of one of the types; of one that is not known nothing is said."""
    if isinstance(value, bool):
        return "boolean" in types
    if isinstance(value, float) and value.is_integer():
        return "integer" in types or "number" in types
    return any(isinstance(value, _TYPES.get(one, (object,))) for one in types)


def _within(branch: Any, types: Sequence[str]) -> bool:
    """Whether a branch allows nothing but values of the types by itself."""
    if not isinstance(branch, dict):
        return False
    own = _types(branch.get("type"))
    if own is None:
        own = tuple(kind for kind, telling in _TELLING.items() if telling & branch.keys())
    return bool(own) and all(one in types or (one == "integer" and "number" in types) for one in own)
