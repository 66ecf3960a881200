"""Reads the body of a request to a route before the route does, and refuses what no route can use.

FastAPI answers a body that it cannot read in a shape of its own, and vLLM takes fields that it does not know.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sppruner_vllm.request.fields import REQUEST_FIELDS

from ..errors.refusal import Refusal, answer, dumped
from ..request.document import DOCUMENT, KEY_NAME
from ..request.record import note_pictures
from .allowed_tools import choose_allowed
from .content.document import check_content
from .details import fill_details
from .elsewhere import refuse_elsewhere
from .grammars import refuse_boundless
from .held import refuse_unheld
from .joined import join_answers
from .json_body import BadBody, read
from .lost import refuse_lost
from .pictures import conversations, gather, refuse_other_counts
from .placement import misplaced, misplaced_header, misplaced_include
from .schema_texts import opened
from .steering import refuse_other_steering
from .unserved import refuse_unserved
from .uuids import name_uuids

_REDUCTION: Final = frozenset(REQUEST_FIELDS)


class BodyCheck:
    """An ASGI application, of one route, that gets only bodies that can be read."""

    def __init__(self, app: ASGIApp, also: Callable[[Any, str], None] | None = None) -> None:
        """Args: also: looks at a document that is found to be good, and the path of its request; raises BadBody."""
        self._app = app
        self._also = also

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in {"POST", "PUT", "PATCH"}:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        coding = ", ".join(value for value in headers.getlist("content-encoding") if value).lower()
        if coding not in {"identity", ""}:
            message = f"the body is compressed ({coding}); send it as it is"
            await answer(Refusal(415, "unsupported_media_type", message, "content-encoding"), scope, receive, send)
            return
        coding = headers.get("transfer-encoding", "").strip().lower()
        if coding not in {"chunked", ""}:
            message = f"the body is coded ({coding}); send it in chunks alone"
            await answer(Refusal(415, "unsupported_media_type", message, "transfer-encoding"), scope, receive, send)
            return
        if not is_json(headers.get("content-type", "")):
            await self._app(scope, receive, send)
            return
        body = await _whole(receive)
        if body:
            try:
                scope[DOCUMENT] = document = read(body, _REDUCTION)
                found = conversations(document, scope["path"])
                places = {part.place for conversation in found or () for part in conversation}
                lost = misplaced(document, scope["query_string"], places) or misplaced_include(document, scope["path"])
                lost = lost or misplaced_header(headers.keys())
                if lost is not None:
                    raise BadBody(lost)
                refuse_other_steering(headers)
                refuse_unserved(document, scope["path"], has_tools=_has_tools(scope), has_turns=_has_turns(scope))
                refuse_elsewhere(document, scope["path"])
                refuse_lost(document)
                changed = fill_details(part for conversation in found or () for part in conversation)
                check_content(document, scope["path"])
                changed = choose_allowed(document, scope["path"]) or changed
                changed = name_uuids(document, scope.get("state", {}).get(KEY_NAME)) or changed
                schemas = opened(document)
                refuse_boundless(schemas)
                refuse_unheld(schemas)
                if found is not None:
                    changed = gather(document, found) or changed
                    changed = join_answers(document, scope["path"]) or changed
                    refuse_other_counts(document, found)
                    note_pictures(len(conversation) for conversation in found)
                if changed:
                    body = dumped(document)
                if self._also is not None:
                    self._also(document, scope["path"])
            except BadBody as bad:
                await answer(bad.refusal, scope, receive, send)
                return
        await self._app(scope, _again(body, receive), send)


class ReadRequest(Request):
    """A request whose document was read before."""

    async def json(self) -> Any:
        if DOCUMENT in self.scope:
            return self.scope[DOCUMENT]
        return await super().json()


def is_json(content_type: str) -> bool:
    """Whether a body of this type is read as JSON."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def _has_tools(scope: Scope) -> bool:
    """Whether vLLM was given a server of tools, which some of its models can use."""
    return getattr(_state(scope), "tool_server", None) is not None


def _has_turns(scope: Scope) -> bool:
    """Whether the engine looks at priorities; vLLM's state of the app has its configuration."""
    config = getattr(_state(scope), "vllm_config", None)
    return config is not None and config.scheduler_config.policy == "priority"


def _state(scope: Scope) -> Any:
    return getattr(scope.get("app"), "state", None)


async def _whole(receive: Receive) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def _again(body: bytes, receive: Receive) -> Receive:
    """The body once more, then what the client goes on to say."""
    given = False

    async def receive_again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again
