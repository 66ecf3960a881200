"""Every error code of the server, with its status and what it means: one table, from which the docs are made.

`python -m sppruner_server.errors.doc` writes it into docs/use/api.md. A code that is not here cannot be answered with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Code:
    """One row of the table.

    status: the HTTP status that always goes with the code.
    meaning: for the docs, in Markdown; names `param` where there is one.
    """

    status: int
    meaning: str


CODES: Final[dict[str, Code]] = {
    # The reduction fields.
    "invalid_keep_ratio": Code(400, "`keep_ratio`, or a list of them that has not one for each picture"),
    "invalid_keep_tokens": Code(400, "`keep_tokens`"),
    "invalid_keep_tokens_total": Code(400, "`keep_tokens_total`"),
    "invalid_max_pixels": Code(400, "`max_pixels`, or a list of them that has not one for each picture"),
    "invalid_focus_query": Code(400, "`focus_query`"),
    "invalid_focus_scope": Code(400, "`focus_scope`"),
    "invalid_reduction_method": Code(400, "`reduction_method`"),
    "unsupported_parameter": Code(
        400,
        "two of `keep_ratio`, `keep_tokens` and `keep_tokens_total`, a picture's own `keep_ratio` beside a list of "
        "them or beside `previous_response_id`, `max_pixels` of what cannot be made "
        "smaller, `focus_scope` of `image` beside `focus_query`, or a "
        "`reduction_method` that is not open; or something that this server does not do, see below",
    ),
    "unknown_parameter": Code(
        400,
        "`param` is close to a reduction field, or is one in a place where nobody reads it, and would be lost",
    ),
    "too_many_unreduced_tokens": Code(
        400,
        "`keep_ratio`, whichever field asked for the reduction: before it, a picture or the prompt has more tokens "
        "than there may be. The message says how many of each",
    ),
    # Pictures and other media.
    "invalid_image": Code(
        400,
        "`image_url`, `image_pil`, `image_embeds` or `source`: no picture, or one that cannot be decoded "
        "right, see [Pictures](#pictures)",
    ),
    "image_too_large": Code(
        400,
        "`image_url` or `image_pil`: beyond a limit of [Server settings](#server-settings) or "
        "`VLLM_MAX_IMAGE_PIXELS`; from vLLM 0.33 on also more in all images of a request than "
        "`VLLM_MAX_MEDIA_REQUEST_DECODE_BYTES`",
    ),
    "image_fetch_failed": Code(
        400,
        "`image_url`: nothing usable could be fetched, see [Pictures by URL](#pictures-by-url)",
    ),
    "image_url_forbidden": Code(400, "`image_url`: a URL that is not loaded from, whatever stands behind it"),
    "image_cut_off": Code(400, "`truncate_prompt_tokens` leaves no place for an image"),
    "invalid_media": Code(400, "`video_url` or `audio_url`: cannot be decoded, or is empty"),
    "media_too_large": Code(
        400,
        "`video_url` or `audio_url`: beyond a limit of [Server settings](#server-settings), see [Videos](#videos)",
    ),
    # Any request.
    "invalid_json": Code(400, "the body is no JSON object in UTF-8, or nests more than 256 levels deep"),
    "invalid_value": Code(
        400,
        "`param`, where it is known, has a value that is refused, or one that nothing can be made of",
    ),
    "missing_required_parameter": Code(400, "`param` must be given"),
    "context_length_exceeded": Code(
        400,
        "`messages`, `input` or `prompt`: with its images it is longer than the context",
    ),
    "invalid_api_key": Code(401, "no key, or one that is not known; `WWW-Authenticate` says how to send it"),
    "permission_denied": Code(403, "the key does not allow this"),
    "model_not_found": Code(404, "`model`: not served here"),
    "not_found": Code(404, "there is no such response, or nothing else of this name"),
    "unknown_url": Code(404, "there is no such route"),
    "method_not_allowed": Code(405, "the route is there for other methods; `Allow` names them"),
    "request_timeout": Code(408, "head or body of the request came too slowly"),
    "request_too_large": Code(413, "the body has more bytes than the server takes"),
    "head_too_large": Code(
        431, "the head of the request, its path and headers, is too long, or what stands around its body's chunks"
    ),
    "invalid_http": Code(400, "this is not HTTP, or not as it should be"),
    "unsupported_media_type": Code(415, "`Content-Type` is not JSON, or the body is compressed"),
    "rate_limit_exceeded": Code(429, "too many requests of this key; `Retry-After` says when to come again"),
    "internal_error": Code(500, "a fault of the server; its log has the same request id"),
    "engine_dead": Code(500, "the engine is gone; the server is about to stop"),
    "server_overloaded": Code(503, "no room for another request; `Retry-After` says when to come again"),
    "shutting_down": Code(503, "`Retry-After` says when to come again; any other replica may answer at once"),
    "gateway_timeout": Code(504, "the request took longer than it may"),
}
