"""Schemas, patterns and grammars that an answer must follow: bounded, and whole in the body that brings them.

A library makes one rule for each repeat that a schema allows, a kilobyte each, in this very process, while all other
requests wait: `minItems` of a thousand million takes all memory that there is. And it leaves out what stands in another
document, which it says to the log alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from ..errors.places import Place
from .content.reading import fail, fail_because
from .schema_texts import Text

MOST: Final = 2**16
"""Repeats, entries of lists, and letters of patterns and grammars, all of a request together. No answer is so long."""

LONGEST: Final = 2**14
"""Letters of one value or name that an answer must repeat: the time that a library takes grows with their square, a
fifth of a second for so many, 0.6 for twice as many, in a thread that nothing ends."""
MOST_LETTERS: Final = 2**17
"""Letters of all of them. OpenAI's API takes 120,000."""

MOST_OBJECTS: Final = 2**13
"""Objects in all schemas together: a library takes time with their square, two seconds for so many."""

_COUNTS: Final = frozenset(
    {
        *("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"),
        *("minContains", "maxContains"),
    }
)
_PATTERNS: Final = frozenset({"pattern", "regex", "grammar", "whitespace_pattern"})
_PATTERNS_BY_NAME: Final = "patternProperties"
_LITERALS: Final = frozenset({"const", "enum", "choice", "required", "begin", "end", "triggers", "value"})
"""Members that hold what is repeated word by word, or lists of it."""
_NAMES: Final = frozenset({"properties", "$defs", "definitions", _PATTERNS_BY_NAME})
"""Members whose own members' names are."""
_PROPERTIES: Final = "properties"
_REFERENCE: Final = "$ref"
_REPEATS: Final = re.compile(r"\{\s*(\d*)\s*(?:,\s*(\d*)\s*)?\}")


def refuse_boundless(schemas: Mapping[str, Any]) -> None:
    """Refuse a body whose schemas and patterns repeat too much, or refer to somewhere else.

    Args:
        schemas: fields of the body that have any, their texts opened (schema_texts.py).

    Raises:
        BadBody: names the first place that is too much.
    """
    left, letters, objects = MOST, MOST_LETTERS, MOST_OBJECTS
    for name, field in schemas.items():
        objects -= _objects(field)
        if objects < 0:
            fail_because((name,), f"the schemas of a request may have {MOST_OBJECTS} objects in all")
        for place, size in _literals(field, (name,)):
            letters -= size
            if size > LONGEST or letters < 0:
                what = "a name or value that an answer must repeat may have"
                fail_because(place, f"{what} {LONGEST} letters, all of them {MOST_LETTERS}")
        for place, size in _sizes(field, (name,)):
            left -= size
            if left < 0:
                what = "the repeats, lists and letters of a request's schemas and patterns may come to"
                fail_because(place, f"{what} {MOST}")


def _objects(node: Any) -> int:
    """How many there are, in texts that hold a schema too."""
    count, waiting = 0, [node]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            count += 1
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
        elif isinstance(one, Text):
            waiting.append(one.value)
    return count


def _sizes(node: Any, place: Place) -> Iterator[tuple[Place, int]]:
    """How much each part of a schema comes to, by itself."""
    if isinstance(node, list):
        yield place, len(node)
        for number, entry in enumerate(node):
            if isinstance(entry, dict | list):
                yield from _sizes(entry, (*place, number))
        return
    for name, value in node.items() if isinstance(node, dict) else ():
        here = (*place, name)
        if isinstance(value, dict | list):
            if name == _PROPERTIES and isinstance(value, dict):
                yield here, _of_properties(len(value), node.get("required"))
            if name == _PATTERNS_BY_NAME and isinstance(value, dict):
                for pattern in value:
                    yield (*here, pattern), _in_pattern(pattern)
            yield from _sizes(value, here)
        elif name in _COUNTS and type(value) is int:
            yield here, max(value, 0)
        elif name in _PATTERNS and isinstance(value, str):
            yield here, _in_pattern(value)
        elif isinstance(value, Text):
            yield from ((here, size) for _, size in _sizes(value.value, here))
        elif name == _REFERENCE and isinstance(value, str) and value[:1] != "#":
            fail(here, "refers to another document, which is not looked at: write it into this one")


def _literals(node: Any, place: Place, *, all_of_it: bool = False) -> Iterator[tuple[Place, int]]:
    """Letters of each text that an answer must repeat. all_of_it: of everything below."""
    if isinstance(node, list):
        for number, entry in enumerate(node):
            yield from _literals(entry, (*place, number), all_of_it=all_of_it)
    elif isinstance(node, dict):
        for name, value in node.items():
            here = (*place, name)
            if all_of_it:
                yield place, len(name)
            if isinstance(value, Text):  # within a value that is to be repeated it is one
                value = value.text if all_of_it or value.value is None else value.value
            if name in _NAMES and isinstance(value, dict):
                yield from ((here, len(inner)) for inner in value)
                for inner, schema in value.items():
                    yield from _literals(schema, (*here, inner))
            else:
                yield from _literals(value, here, all_of_it=all_of_it or name in _LITERALS)
    elif isinstance(node, str) and all_of_it:
        yield place, len(node)


def _of_properties(count: int, required: Any) -> int:
    """What the properties of one object come to. The time that a library takes grows faster than with their square: a
    third of a second for 512 that may be left out, or 2,048 that may not."""
    needed = min(count, len(required)) if isinstance(required, list) else 0
    return (count - needed) ** 2 // 4 + needed**2 // 64


def _in_pattern(pattern: str) -> int:
    """Its letters, and what its quantifiers come to; numbers of more digits than Python reads are beyond any bound."""
    return len(pattern) + sum(
        max((int(number[:18]) for number in found.groups() if number), default=0)
        for found in _REPEATS.finditer(pattern)
    )
