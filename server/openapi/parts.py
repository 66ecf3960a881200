"""Pieces of JSON Schema that the bodies of several endpoints share."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any, Final

from sppruner_vllm.request.fields import FOCUS_SCOPES, MAX_FOCUS_QUERY_CHARS
from sppruner_vllm.settings import Settings

Schema = dict[str, Any]

IMAGE_URL: Final = "image-data-url"
"""Format of a string: a picture as a `data:` URL."""

IMAGE_BYTES: Final = "image-base64"
"""Format of a string: a picture in base64."""

INT64: Final = 2**63


def ref(name: str) -> Schema:
    """A schema of the document's components."""
    return {"$ref": f"#/components/schemas/{name}"}


def obj(properties: Mapping[str, Schema], *required: str, **more: Any) -> Schema:
    """An object that may have other members too."""
    return {"type": "object", "properties": dict(properties), "required": list(required), **more}


def items(schema: Schema, fewest: int = 1, **more: Any) -> Schema:
    """An array of one kind."""
    return {"type": "array", "items": schema, "minItems": fewest, **more}


def either(*schemas: Schema, **more: Any) -> Schema:
    """What keeps to one of several schemas."""
    return {"anyOf": list(schemas), **more}


def or_null(**schema: Any) -> Schema:
    """A field that may be null, which counts as left out."""
    description = {"description": schema.pop("description")} if "description" in schema else {}
    return {"anyOf": [schema, {"type": "null"}], **description}


def const(value: str) -> Schema:
    """A string that is always the same."""
    return {"type": "string", "const": value}


def model(names: list[str]) -> Schema:
    """The model's name."""
    return {"type": "string", "enum": names, "description": "A model that this server serves."}


STRING: Final[Schema] = {"type": "string"}
BOOLEAN: Final = or_null(type="boolean")

SAMPLING: Final[dict[str, Schema]] = {
    "temperature": or_null(type="number", minimum=0, maximum=2),
    "top_p": or_null(type="number", exclusiveMinimum=0, maximum=1),
}
PENALTIES: Final[dict[str, Schema]] = {
    "frequency_penalty": or_null(type="number", minimum=-2, maximum=2),
    "presence_penalty": or_null(type="number", minimum=-2, maximum=2),
    "seed": or_null(type="integer", minimum=-INT64, maximum=INT64 - 1),
}
STOPS: Final = items({"type": "string", "minLength": 1}, 0, maxItems=4)
STOP: Final = either({"type": "string", "minLength": 1}, STOPS, {"type": "null"})


DETAIL: Final[Schema] = {
    "type": "string",
    "enum": ["auto", "low", "high"],
    "description": "How closely the picture is looked at: a limit of pixels that the operator sets.",
}
MAX_PIXELS: Final = or_null(
    type="integer",
    minimum=1,
    description="Most pixels that this picture is encoded with. Also keep_ratio may stand here.",
)


def reduction(limits: Settings, methods: frozenset[str]) -> dict[str, Schema]:
    """Our own fields, within the operator's bounds.

    Args:
        limits: the operator's settings.
        methods: names that `reduction_method` may take.
    """
    ratio = {"type": "number", "minimum": limits.min_keep_ratio, "maximum": limits.max_keep_ratio}
    fields: dict[str, Schema] = {
        # A list has one for each picture: how many there are, no schema can say.
        "keep_ratio": either(
            *(ratio, const("auto"), {"type": "null"}),
            description="Fraction of each picture's visual tokens to keep, rounded up; `auto` for one that fits the "
            "picture; or a list with one of these for each picture. Not beside keep_tokens or keep_tokens_total.",
        ),
        "keep_tokens": or_null(
            type="integer",
            minimum=limits.min_tokens,
            description="Visual tokens to keep of each picture. Not beside keep_ratio.",
        ),
        "keep_tokens_total": or_null(
            type="integer",
            minimum=limits.min_tokens,
            description="Visual tokens that all pictures share. Not beside keep_ratio or keep_tokens.",
        ),
        "max_pixels": or_null(
            type="integer",
            minimum=1,
            description="Most pixels that a picture is encoded with, or a list with a number for each picture of the "
            "request. A larger picture is made smaller.",
        ),
        "focus_query": or_null(
            type="string",
            maxLength=MAX_FOCUS_QUERY_CHARS,
            description="Steers which tokens are kept, in place of the text beside the picture.",
        ),
        "focus_scope": or_null(
            type="string",
            enum=list(FOCUS_SCOPES),
            description="Whom a selection serves: this question, or all questions about the picture.",
        ),
    }
    if limits.allow_method:
        fields["reduction_method"] = or_null(type="string", enum=sorted(methods), description="How tokens are chosen.")
    return fields


_BUDGETS: Final[dict[str, Schema]] = {
    "keep_ratio": {"type": ["number", "string"]},
    "keep_tokens": {"type": "integer"},
    "keep_tokens_total": {"type": "integer"},
}

EXCLUDING: Final[list[Schema]] = [
    *({"not": obj({name: _BUDGETS[name] for name in pair}, *pair)} for pair in combinations(_BUDGETS, 2)),
    {"not": obj({"focus_scope": {"const": "image"}, "focus_query": STRING}, "focus_scope", "focus_query")},
]
"""What of our fields cannot stand together."""
