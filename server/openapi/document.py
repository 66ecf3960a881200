"""The document: which paths there are, what each takes and answers, and who may ask."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from sppruner_vllm import __version__
from sppruner_vllm.settings import Settings

from .answers import answer, answer_schemas, errors
from .bodies import Known, request_schemas
from .parts import STRING, Schema, reduction, ref

ANY: Final = (404, 405, 431, 500, 503)
"""Errors that every operation may answer with."""

BODY: Final = (400, 408, 413, 415)
"""Errors of an operation that takes a body."""

KEY: Final = (401, 403, 429)
"""Errors of a server that asks for keys."""


@dataclass(frozen=True, slots=True)
class Described:
    """What the document depends on, beside the routes.

    models: names under which the model is served. highest_token: the largest token id. context: tokens of prompt and
    answer together. asks_for_keys: whether a key is needed, on all but the open paths. limits: the operator's settings.
    methods: names that `reduction_method` may take.
    """

    models: list[str]
    highest_token: int
    context: int
    asks_for_keys: bool
    open_paths: frozenset[str]
    limits: Settings
    methods: frozenset[str]


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that can be asked.

    body: name of its body's schema, None for one without. answer: its 200. refuses: errors beside the usual ones.
    """

    method: str
    path: str
    summary: str
    answer: dict[str, Any]
    body: str | None = None
    parameters: tuple[dict[str, Any], ...] = ()
    refuses: tuple[int, ...] = ()


def _text(kind: str) -> dict[str, Any]:
    return {"description": "Served.", "content": {kind: {"schema": STRING}}}


def _in_path(name: str, schema: Schema) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": schema}


_RESPONSE_ID: Final = _in_path("response_id", {"type": "string", "pattern": "^resp_[0-9a-f]+$"})
_EMPTY: Final = {"description": "Yes."}

OPERATIONS: Final = (
    Operation(
        *("post", "/v1/chat/completions", "OpenAI's chat completions"),
        answer(ref("ChatCompletion"), events=True, reduced=True),
        "ChatRequest",
    ),
    Operation(
        *("post", "/v1/visual-tokens", "Which visual tokens a chat keeps, and why; nothing is decoded"),
        answer(ref("VisualTokensSelection"), png=True, reduced=True),
        "ChatRequest",
        parameters=({"name": "format", "in": "query", "schema": {"type": "string", "enum": ["json", "png"]}},),
    ),
    Operation(
        *("post", "/v1/chat/completions/batch", "Several conversations, each answered with a choice"),
        answer(ref("ChatCompletion"), reduced=True),
        "BatchRequest",
    ),
    Operation(
        *("post", "/v1/completions", "OpenAI's completions, of text alone"),
        answer(ref("Completion"), events=True),
        "CompletionRequest",
    ),
    Operation(
        "post",
        "/v1/responses",
        "OpenAI's responses",
        answer(ref("Response"), events=True, reduced=True),
        "ResponseRequest",
    ),
    Operation(
        *("get", "/v1/responses/{response_id}", "A response that is kept", answer(ref("Response"))),
        parameters=(_RESPONSE_ID,),
        refuses=(400,),
    ),
    Operation(
        *("post", "/v1/responses/{response_id}/cancel", "Ends a response in the background", answer(ref("Response"))),
        parameters=(_RESPONSE_ID,),
        refuses=(400,),
    ),
    Operation(
        "post",
        "/v1/messages",
        "Anthropic's messages",
        answer(ref("Message"), events=True, reduced=True),
        "MessagesRequest",
    ),
    Operation(
        *("post", "/v1/messages/count_tokens", "The tokens of a message, as reduced"),
        answer(ref("TokenCount"), reduced=True),
        "CountTokensRequest",
    ),
    Operation(
        "post", "/tokenize", "The token ids of a text or a conversation", answer(ref("Tokens")), "TokenizeRequest"
    ),
    Operation("post", "/detokenize", "The text of token ids", answer(ref("Text")), "DetokenizeRequest"),
    Operation("get", "/v1/models", "The models that are served", answer(ref("Models"))),
    Operation(
        *("get", "/v1/models/{model_id}", "One of the models", answer(ref("Model"))),
        parameters=(_in_path("model_id", STRING),),
    ),
    Operation("get", "/version", "The version of vLLM", answer(ref("Version"))),
    Operation("get", "/health", "Whether the server can serve", _EMPTY),
    Operation("get", "/livez", "Whether the process should go on", _EMPTY),
    Operation("get", "/readyz", "Whether to send requests here", _EMPTY),
    Operation("get", "/metrics", "Metrics for Prometheus", _text("text/plain")),
)


def document(described: Described, served: Iterable[str]) -> dict[str, Any]:
    """The OpenAPI document.

    Args:
        described: facts of this server.
        served: paths of its routes; operations of others are left out.
    """
    known = Known(
        described.models,
        described.highest_token,
        described.context,
        reduction(described.limits, described.methods),
        described.limits.explains,
    )
    there = {path.replace(":path}", "}") for path in served}
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        if operation.path in there:
            paths.setdefault(operation.path, {})[operation.method] = _described(
                operation, _asks_for_key(operation, described)
            )
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "sppruner-vllm",
            "version": __version__,
            "description": "vLLM's server with a budget of visual tokens per request. Other fields than those of a "
            "schema go to vLLM as they are.",
        },
        "paths": paths,
        "components": {"schemas": {**request_schemas(known), **answer_schemas()}},
    }
    if described.asks_for_keys:
        document["components"]["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
        }
    return document


def _asks_for_key(operation: Operation, described: Described) -> bool:
    return described.asks_for_keys and operation.path not in described.open_paths


def _described(operation: Operation, closed: bool) -> dict[str, Any]:
    statuses = {*ANY, *operation.refuses, *(BODY if operation.body else ())}
    if closed:
        statuses |= {*KEY}
    told: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": f"{operation.method}{operation.path.translate(str.maketrans('/{}', '_' * 3))}",
        "responses": {
            "200": operation.answer,
            **errors(*sorted(statuses), messages=operation.path.startswith("/v1/messages")),
        },
    }
    if operation.parameters:
        told["parameters"] = list(operation.parameters)
    if operation.body:
        told["requestBody"] = {"required": True, "content": {"application/json": {"schema": ref(operation.body)}}}
    if closed:
        told["security"] = [{"bearer": []}, {"x-api-key": []}]
    return told


def describing(app: Any, facts: Callable[[], Described]) -> Callable[[], dict[str, Any]]:
    """What makes the document of a FastAPI app.

    Args:
        app: whose routes are described.
        facts: asked at each request, since models come and go.
    """

    def openapi() -> dict[str, Any]:
        return document(facts(), [str(getattr(route, "path", "")) for route in app.routes])

    return openapi
