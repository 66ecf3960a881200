"""Schemas of the request bodies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..body.fields import SELECTION
from .parts import (
    BOOLEAN,
    DETAIL,
    EXCLUDING,
    IMAGE_BYTES,
    IMAGE_URL,
    MAX_PIXELS,
    PENALTIES,
    SAMPLING,
    STOP,
    STOPS,
    STRING,
    Schema,
    const,
    either,
    items,
    model,
    obj,
    or_null,
    ref,
)


@dataclass(frozen=True, slots=True)
class Known:
    """What the bodies depend on.

    models: names under which the model is served. highest_token: the largest token id there is. context: tokens of
    prompt and answer together, at most.
    reduction: schemas of our own fields. explains: whether it is told which visual tokens were kept.
    """

    models: list[str]
    highest_token: int
    context: int
    reduction: dict[str, Schema]
    explains: bool


def request_schemas(known: Known) -> dict[str, Schema]:
    """The components of all bodies, by name."""
    return {
        **_shared(),
        **_chat(known),
        **_completion(known),
        **_responses(known),
        **_messages(known),
        **_tokens(known),
    }


def _limit(known: Known) -> Schema:
    """How long an answer may get."""
    return or_null(type="integer", minimum=1, maximum=known.context)


def _shared() -> dict[str, Schema]:
    url = {"type": "string", "format": IMAGE_URL, "description": "A picture as a data: URL in base64."}
    detail = {"detail": or_null(**DETAIL), "max_pixels": MAX_PIXELS}
    return {
        "ImageUrl": url,
        "TextPart": obj({"type": const("text"), "text": STRING}, "type", "text"),
        "ImagePart": obj(
            {"type": const("image_url"), "image_url": obj({"url": ref("ImageUrl"), **detail}, "url")},
            "type",
            "image_url",
        ),
    }


def _chat(known: Known) -> dict[str, Schema]:
    texts = either(STRING, items(ref("TextPart")))
    parts = items(either(ref("TextPart"), ref("ImagePart")))
    other = {"type": "string", "minLength": 1, "not": {"enum": ["system", "developer", "user", "assistant", "tool"]}}
    roles = [
        obj({"role": {"type": "string", "enum": ["system", "developer"]}, "content": texts}, "role", "content"),
        obj({"role": const("user"), "content": either(STRING, parts)}, "role", "content"),
        obj(
            {"role": const("assistant"), "content": either(STRING, items(ref("TextPart"), 0), {"type": "null"})}, "role"
        ),
        obj({"role": const("tool"), "content": either(STRING, items(ref("TextPart"), 0))}, "role"),
        # Roles of the model's own.
        obj({"role": other, "content": either(STRING, items(either(STRING, ref("TextPart")), 0))}, "role"),
    ]
    function = obj({"name": {"type": "string"}, "description": or_null(**STRING)}, "name")
    fields: dict[str, Schema] = {
        "model": or_null(**model(known.models)),
        "max_tokens": or_null(type="integer", minimum=1),
        "max_completion_tokens": _limit(known),
        **SAMPLING,
        **PENALTIES,
        "stop": STOP,
        "stream": BOOLEAN,
        "logprobs": BOOLEAN,
        "user": or_null(type="string"),
        **known.reduction,
    }
    tools = {"tools": or_null(**items(obj({"type": const("function"), "function": function}, "function")))}
    conversation = items(ref("ChatMessage"))
    # The one that is not looked at may be any.
    too_long = {"max_tokens": {"type": "integer", "exclusiveMinimum": known.context}}
    excluding = [*EXCLUDING, {"not": obj({**too_long, "max_completion_tokens": {"type": "null"}}, "max_tokens")}]
    batched = {name: schema for name, schema in fields.items() if name != "stream"}
    told = {"include": or_null(**items(const(SELECTION), 0))} if known.explains else {}
    return {
        "ChatMessage": either(*roles),
        "ChatRequest": obj({"messages": conversation, **fields, **tools, **told}, "messages", allOf=excluding),
        "BatchRequest": obj({"messages": items(conversation), **batched}, "messages", allOf=excluding),
    }


def _completion(known: Known) -> dict[str, Schema]:
    text = {"type": "string", "minLength": 1}
    tokens = items({"type": "integer", "minimum": 0, "maximum": known.highest_token})
    fields: dict[str, Schema] = {
        "model": or_null(**model(known.models)),
        "prompt": either(text, items(text), tokens, items(tokens)),
        "max_tokens": _limit(known),
        **SAMPLING,
        **PENALTIES,
        "stop": STOP,
        "stream": BOOLEAN,
        "user": or_null(type="string"),
    }
    return {"CompletionRequest": obj(fields, "prompt")}


def _responses(known: Known) -> dict[str, Schema]:
    text = obj({"type": const("input_text"), "text": STRING}, "type", "text")
    image = obj(
        {
            "type": const("input_image"),
            "image_url": ref("ImageUrl"),
            "detail": or_null(**DETAIL),
            "max_pixels": MAX_PIXELS,
        },
        *("type", "image_url"),
    )
    roles = [
        obj(
            {"role": const("user"), "content": either(STRING, items(either(text, image), 0))},
            *("role", "content"),
        ),
        obj(
            {
                "role": {"type": "string", "enum": ["system", "developer"]},
                "content": either(STRING, items(text, 0)),
            },
            *("role", "content"),
        ),
    ]
    fields: dict[str, Any] = {
        "model": or_null(**model(known.models)),
        "input": either(STRING, items(either(*roles))),
        "instructions": or_null(type="string"),
        "max_output_tokens": _limit(known),
        **SAMPLING,
        "stream": BOOLEAN,
        "user": or_null(type="string"),
        **known.reduction,
    }
    return {"ResponseRequest": obj(fields, "input", allOf=EXCLUDING)}


def _messages(known: Known) -> dict[str, Schema]:
    source = obj(
        {
            "type": const("base64"),
            "media_type": {"type": "string", "enum": ["image/png", "image/jpeg", "image/gif", "image/webp"]},
            "data": {"type": "string", "format": IMAGE_BYTES},
        },
        *("type", "media_type", "data"),
    )
    asked = {"detail": or_null(**DETAIL), "max_pixels": MAX_PIXELS}
    image = obj({"type": const("image"), "source": source, **asked}, "type", "source")
    text = obj({"type": const("text"), "text": {"type": "string", "minLength": 1}}, "type", "text")
    blocks = either(text, image)
    # An answer of nothing may be sent back.
    messages = [
        obj({"role": const(role), "content": either(STRING, items(blocks, fewest))}, "role", "content")
        for role, fewest in (("user", 1), ("assistant", 0))
    ]
    counted: dict[str, Schema] = {
        "model": model(known.models),
        "messages": items(either(*messages)),
        "system": either(STRING, items(ref("TextPart"), 0), {"type": "null"}),
        **known.reduction,
    }
    fields = {
        **counted,
        "max_tokens": {"type": "integer", "minimum": 1, "maximum": known.context},
        **SAMPLING,
        "stop_sequences": either(STOPS, {"type": "null"}),
        "stream": BOOLEAN,
    }
    return {
        "MessagesRequest": obj(fields, "model", "messages", "max_tokens", allOf=EXCLUDING),
        "CountTokensRequest": obj(counted, "model", "messages", allOf=EXCLUDING),
    }


def _tokens(known: Known) -> dict[str, Schema]:
    chosen: dict[str, Schema] = {"model": or_null(**model(known.models)), "add_special_tokens": {"type": "boolean"}}
    ids = items({"type": "integer", "minimum": 0, "maximum": known.highest_token}, 0)
    return {
        "TokenizeRequest": either(
            obj({"prompt": STRING, **chosen}, "prompt"),
            obj({"messages": items(ref("ChatMessage")), **chosen}, "messages"),
        ),
        "DetokenizeRequest": obj({"model": or_null(**model(known.models)), "tokens": ids}, "tokens"),
    }
