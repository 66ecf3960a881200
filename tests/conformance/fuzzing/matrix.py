"""Every field of every body with every bad value, one at a time: what chance may miss.

A body's places are those of the bodies of whole.py, and the members that vLLM's and our schemas know beside them.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sppruner_server.errors.invalid_body import written

from .bodies import Body, Good
from .cases import JSON, Case, bound
from .fields import TAKEN

Schema = Mapping[str, Any]
Place = tuple[str | int, ...]

DEEP: Final[Any] = json.loads("[" * 200 + "]" * 200)
"""Deep, and still within what a body may be."""

BAD: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, -1, 0.5, 10**30, -(2**63) - 1, 1e308, float("nan"), float("inf")),
    *("", "x", "\x00", "\ud800", "x" * 5000, [], {}, [None], [1, "x", {}], {"a": None}, {"type": None}, DEEP),
)


_UNREAD: Final = frozenset(
    {
        *("prompt_cache_breakpoint", "annotations", "logprobs", "phase", "status", "created_by", "async", "is_error"),
        *("author", "channel", "recipient", "content_type", "_backend", "_backend_was_auto"),
    }
)
"""Members that change nothing where they stand: hints, what another kind of part has, what no client may set."""


_OF_NEIGHBOURS: Final = ("type", "role", "tool_calls", "properties")


@dataclass(frozen=True, slots=True)
class Spot:
    """One place of a good body. fits: the schemas of what may stand there; empty where none is known."""

    start: Good
    place: Place
    fits: tuple[Schema, ...]


def spots(requests: Sequence[Good]) -> list[Spot]:
    """Every place of the bodies, those that they leave empty too; once for a path and the kinds of what holds it."""
    found: dict[tuple[str, str], Spot] = {}
    for start in requests:
        models = [model.model_json_schema() for model in TAKEN[start.path]]
        known = [schema for model in models for schema in _plain(model, model)]
        for place, fits in _walk(start.body, (), known):
            found.setdefault((start.path, _kind(start.body, place)), Spot(start, place, tuple(fits)))
    return list(found.values())


def every_case(requests: Sequence[Good], longest: int | None = None, every: int = 1) -> Iterator[Case]:
    """One request for each place and bad value, and a stream where there are streams.

    Args:
        longest: tokens of an answer, also where the body lost its limit; None leaves that as it came.
        every: of so many cases in turn one.
    """
    number = -1
    for spot in spots(requests):
        for bad in BAD:
            for streams in (False, True) if spot.start.streams else (False,):
                number += 1
                if number % every == 0:
                    yield _case(number, spot, bad, streams, longest)


def _case(number: int, spot: Spot, bad: Any, streams: bool, longest: int | None) -> Case:
    body = copy.deepcopy(spot.start.body)
    if streams:
        body["stream"] = True
    *to_holder, last = spot.place
    holder: Any = body
    for step in to_holder:
        holder = holder[step]
    holder[last] = copy.deepcopy(bad)
    if longest is not None:
        bound(body, spot.start.path, longest)
    content = json.dumps(body, separators=(",", ":")).encode()
    fits = None if bad is None else _may_be(bad, spot.fits, nested=len(spot.place) > 1)
    return Case(number, spot.start.path, content, {"content-type": JSON}, written(_blamed(spot.place)), fits)


def _blamed(place: Place) -> Place:
    """Where a refusal may say that the fault is: what a value says of its neighbours may be told of these."""
    return place[:-1] if isinstance(place[-1], int) or (len(place) > 1 and place[-1] in _OF_NEIGHBOURS) else place


def _walk(node: Any, place: Place, known: Sequence[Schema]) -> Iterator[tuple[Place, list[Schema]]]:
    if isinstance(node, list):
        schemas = [schema for one in known for schema in _items(one)]
        for number, entry in enumerate(node):
            yield (*place, number), schemas
            yield from _walk(entry, (*place, number), _fitting(schemas, entry))
    elif isinstance(node, dict):
        members = {name: None for one in known for name in one.get("properties", ())}
        for name in {**dict.fromkeys(node), **members}:
            if place and name in _UNREAD:
                continue
            schemas = [schema for one in known for schema in _member(one, name)]
            yield (*place, name), schemas
            if name in node:
                yield from _walk(node[name], (*place, name), _fitting(schemas, node[name]))


def _plain(schema: Schema, root: Schema) -> Iterator[Schema]:
    """What a schema may be, its references followed; each carries the document that it is of."""
    if "$ref" in schema:
        yield from _plain(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    elif several := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
        for one in several:
            yield from _plain(one, root)
    else:
        yield {**schema, "$root": root}


def _member(schema: Schema, name: str) -> Iterator[Schema]:
    properties, others = schema.get("properties", {}), schema.get("additionalProperties")
    if name in properties:
        yield from _plain(properties[name], schema["$root"])
    elif isinstance(others, dict):
        yield from _plain(others, schema["$root"])


def _items(schema: Schema) -> Iterator[Schema]:
    if isinstance(schema.get("items"), dict):
        yield from _plain(schema["items"], schema["$root"])


def _fitting(schemas: Sequence[Schema], node: Any) -> list[Schema]:
    """Of the schemas those of the node's own `type` and `role`, where it has one."""
    if not isinstance(node, dict):
        return list(schemas)
    named = [name for name in ("type", "role") if name in node]
    return [
        schema for schema in schemas if all(_allows(node[name], one) for name in named for one in _member(schema, name))
    ]


def _allows(value: Any, schema: Schema) -> bool:
    if "const" in schema:
        return bool(value == schema["const"])
    return "enum" not in schema or value in schema["enum"]


_KINDS: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}


def _may_be(value: Any, schemas: Sequence[Schema], *, nested: bool) -> bool | None:
    """Whether a value has a type that some schema allows; None where they do not say.

    Args:
        nested: inside of a field vLLM takes numbers for true and false, and the other way round.
    """
    if nested and isinstance(value, int | float):
        return None
    if not schemas or any("type" not in one and "const" not in one and "enum" not in one for one in schemas):
        return None
    return any(_allows(value, one) and ("type" not in one or type(value) in _KINDS[one["type"]]) for one in schemas)


def _kind(body: Body, place: Place) -> str:
    """A place without its numbers, with the types and roles of what holds it."""
    node: Any = body
    steps: list[str] = []
    for step in place:
        if isinstance(node, dict):
            steps.append(f"{node.get('type', '')}{node.get('role', '')}.{step}")
        else:
            steps.append("[]")
        node = node.get(step) if isinstance(node, dict) else node[step]
    return " ".join(steps)
