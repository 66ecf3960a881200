"""Schemas of the answers, errors among them."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Final

from ..body.fields import SELECTION
from ..errors.codes import CODES
from ..errors.refusal import ANTHROPIC_TYPES, INVALID_REQUEST, OPENAI_TYPES
from ..headers import (
    FOCUS_SCOPE,
    IMAGES_KEEP_RATIO,
    IMAGES_RETAINED,
    KEEP_RATIO,
    METHOD,
    ORIGINAL,
    RETAINED,
    SHRUNK_IMAGES,
    SKIPPED_REASON,
)
from .parts import STRING, Schema, const, items, obj, or_null, ref

JSON: Final = "application/json"
EVENTS: Final = "text/event-stream"
NATURAL: Final[Schema] = {"type": "integer", "minimum": 0}

WORDS: Final = {
    400: "The request cannot be served as it is.",
    401: "No key, or one that is not known.",
    403: "The key does not allow this.",
    404: "No such model, response or path.",
    405: "The path is there for other methods.",
    408: "The request came too slowly.",
    413: "The body has more bytes than the server takes.",
    415: "The body is not JSON, or compressed.",
    431: "The head of the request is too large.",
    429: "Too many requests of this key.",
    500: "A fault of the server.",
    503: "No room for another request, or the server stops.",
    504: "The request took longer than it may.",
}
REQUEST_ID: Final = {"X-Request-Id": {"description": "Of this request, also in the server's log.", "schema": STRING}}
AGAIN: Final = {"Retry-After": {"description": "Seconds until it is worth asking again.", "schema": STRING}}
REDUCED: Final = {
    name: {"description": "Of a request with pictures or videos; as in its usage.", "schema": STRING}
    for name in (
        *(ORIGINAL, RETAINED, KEEP_RATIO, METHOD, FOCUS_SCOPE, SKIPPED_REASON),
        *(SHRUNK_IMAGES, IMAGES_RETAINED, IMAGES_KEEP_RATIO),
    )
}


def answer_schemas() -> dict[str, Schema]:
    """The components of all answers, by name."""
    image = obj(
        {
            "original": NATURAL,
            "retained": NATURAL,
            "keep_ratio": {"type": "number"},
            "skipped_reason": or_null(type="string"),
            "shrunk": {"type": "boolean"},
        },
        *("original", "retained", "keep_ratio", "skipped_reason", "shrunk"),
    )
    video = obj(
        {
            "original": NATURAL,
            "retained": NATURAL,
            "keep_ratio": {"type": "number"},
            "skipped_reason": or_null(type="string"),
            "frames": NATURAL,
            "selection": or_null(**ref("VideoSelection")),
        },
        *("original", "retained", "keep_ratio", "skipped_reason", "frames"),
    )
    visual = obj(
        {
            "original": NATURAL,
            "retained": NATURAL,
            "keep_ratio": {"type": "number"},
            "method": STRING,
            "skipped_reason": or_null(type="string"),
            "focus_scope": or_null(type="string"),
            "shrunk_images": NATURAL,
            "under_load": {"type": "boolean"},
            "images": items(image),
            "videos": items(video),
            "selection": or_null(**items(ref("PictureSelection"), 0)),
        },
        *("original", "retained", "keep_ratio", "method", "skipped_reason"),
        description="What was kept of the request's pictures and videos.",
    )
    details = or_null(**obj({"visual_tokens": ref("VisualTokens")}))
    usage = obj(
        {
            "prompt_tokens": NATURAL,
            "total_tokens": NATURAL,
            "completion_tokens": or_null(**NATURAL),
            "prompt_tokens_details": details,
        },
        *("prompt_tokens", "total_tokens"),
    )
    counted = obj({"input_tokens": NATURAL, "output_tokens": NATURAL, "input_tokens_details": details}, "input_tokens")
    message = obj({"role": const("assistant"), "content": or_null(type="string")}, "role")
    choice = obj({"index": NATURAL, "message": message, "finish_reason": or_null(type="string")}, "index", "message")
    text = obj({"index": NATURAL, "text": STRING, "finish_reason": or_null(type="string")}, "index", "text")
    named = {"id": STRING, "model": STRING, "created": NATURAL}
    return {
        "VisualTokens": visual,
        **selection_schemas(),
        "Usage": usage,
        "ChatCompletion": obj(
            {**named, "object": const("chat.completion"), "choices": items(choice), "usage": ref("Usage")},
            *("id", "object", "created", "model", "choices", "usage"),
        ),
        "Completion": obj(
            {**named, "object": const("text_completion"), "choices": items(text), "usage": ref("Usage")},
            *("id", "object", "created", "model", "choices", "usage"),
        ),
        "Response": obj(
            {"id": STRING, "object": const("response"), "status": STRING, "output": items({}, 0), "usage": counted},
            *("id", "object", "status", "output"),
        ),
        "Message": obj(
            {
                "id": STRING,
                "type": const("message"),
                "role": const("assistant"),
                "content": items(obj({"type": STRING}, "type"), 0),
                "stop_reason": or_null(type="string"),
                "usage": obj({"input_tokens": NATURAL, "output_tokens": NATURAL}, "input_tokens", "output_tokens"),
            },
            *("id", "type", "role", "content", "usage"),
        ),
        "TokenCount": obj({"input_tokens": NATURAL}, "input_tokens"),
        "Tokens": obj({"count": NATURAL, "max_model_len": NATURAL, "tokens": items(NATURAL, 0)}, "count", "tokens"),
        "Text": obj({"prompt": STRING}, "prompt"),
        "Model": obj({"id": STRING, "object": const("model"), "created": NATURAL, "owned_by": STRING}, "id", "object"),
        "Models": obj({"object": const("list"), "data": items(ref("Model"))}, "object", "data"),
        "Version": obj({"version": STRING}, "version"),
        **error_schemas(),
    }


def selection_schemas() -> dict[str, Schema]:
    """What was kept of a picture, and of those of a request."""
    tokens, numbers = items(NATURAL, 0), items({"type": "number", "minimum": 0, "maximum": 1}, 0)
    grid = items({"type": "integer", "minimum": 1}, 2, maxItems=2, description="Height and width in visual tokens.")
    piece = obj(
        {"grid": grid, "tokens": {**tokens, "description": "Those that are its cells, row by row."}}, "grid", "tokens"
    )
    pieces = "Where a picture's tokens are several grids, each a view of the whole of it."
    why = {
        "kept": tokens,
        "focus": {**tokens, "description": "Those of the kept that are focus; the others are context."},
        "saliency": {**numbers, "description": "Of each token of the grid."},
        "relevance": or_null(**numbers, description="Of each token of the grid; all 0 where the gate is shut."),
        "gate": or_null(type="string", enum=["open", "shut"]),
    }
    video = obj(
        {
            "grid": grid,
            "frames": items(obj(why, *why), 1),
            "encoder_spared": {"type": "boolean"},
            "seconds": {"type": "number", "minimum": 0},
        },
        *("grid", "frames", "encoder_spared", "seconds"),
        description="Which visual tokens of each frame of a video were kept, and why.",
    )
    picture = obj(
        {
            "grid": grid,
            "grid_as_sent": grid,
            "pieces": or_null(**items(piece), description=pieces),
            "original": NATURAL,
            "retained": NATURAL,
            "method": STRING,
            "focus_scope": or_null(type="string"),
            "skipped_reason": or_null(type="string"),
            "kept": or_null(**tokens, description="Tokens of the grid, row by row."),
            "focus": or_null(**tokens, description="Those of the kept that are focus; the others are context."),
            "saliency": or_null(**numbers, description="Of each token of the grid."),
            "relevance": or_null(**numbers, description="Of each token of the grid; all 0 where the gate is shut."),
            "gate": or_null(type="string", enum=["open", "shut"]),
            "through_encoder": or_null(**tokens, description="Tokens that went through all of it; null for every one."),
            "encoder_spared": or_null(type="boolean"),
            "seconds": or_null(type="number", minimum=0),
        },
        *("grid", "grid_as_sent", "pieces", "original", "retained", "method", "focus_scope", "skipped_reason"),
        *("kept", "focus", "saliency", "relevance", "gate", "through_encoder", "encoder_spared", "seconds"),
        description="Which visual tokens of a picture were kept, and why.",
    )
    whole = obj(
        {
            "object": const(SELECTION),
            "model": or_null(type="string"),
            "pictures": items(ref("PictureSelection"), 0),
            "visual_tokens": or_null(**ref("VisualTokens")),
            "seconds": {"type": "number", "minimum": 0},
            "kv_bytes_per_token": NATURAL,
        },
        *("object", "model", "pictures", "visual_tokens", "seconds", "kv_bytes_per_token"),
    )
    return {"PictureSelection": picture, "VideoSelection": video, "VisualTokensSelection": whole}


def error_schemas() -> dict[str, Schema]:
    """An error of each status, in OpenAI's shape and in Anthropic's."""
    codes: dict[int, list[str]] = defaultdict(list)
    for code, row in CODES.items():
        codes[row.status].append(code)
    schemas: dict[str, Schema] = {}
    for status, known in sorted(codes.items()):
        told = {"message": STRING, "code": {"type": "string", "enum": sorted(known)}, "param": or_null(type="string")}
        kind, stranger = (types.get(status, INVALID_REQUEST) for types in (OPENAI_TYPES, ANTHROPIC_TYPES))
        schemas[f"Error{status}"] = obj(
            {"error": obj({**told, "type": const(kind)}, "message", "type", "code", "param")}, "error"
        )
        schemas[f"MessagesError{status}"] = obj(
            {"type": const("error"), "error": obj({**told, "type": const(stranger)}, "message", "type")},
            *("type", "error"),
        )
    return schemas


def errors(*statuses: int, messages: bool = False) -> dict[str, Any]:
    """The error answers of an operation.

    Args:
        statuses: HTTP statuses. messages: whether the operation is one of Anthropic's API.
    """
    prefix = "MessagesError" if messages else "Error"
    return {
        str(status): {
            "description": WORDS[status],
            "content": {JSON: {"schema": ref(f"{prefix}{status}")}},
            "headers": {**REQUEST_ID, **(AGAIN if status in (429, 503) else {})},
        }
        for status in statuses
    }


def answer(schema: Schema, *, events: bool = False, png: bool = False, reduced: bool = False) -> dict[str, Any]:
    """A 200 in JSON.

    Args:
        schema: of the body. events: whether it may be a stream. png: whether it may be a picture.
        reduced: whether headers say what was reduced.
    """
    content: dict[str, Any] = {JSON: {"schema": schema}}
    if events:
        content[EVENTS] = {}  # a schema of one event has no place before OpenAPI 3.2
    if png:
        content["image/png"] = {}
    return {"description": "Served.", "headers": {**REQUEST_ID, **(REDUCED if reduced else {})}, "content": content}
