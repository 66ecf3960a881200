"""The guard round an application: what it makes of errors, whoever makes them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from sppruner_server.errors.codes import CODES
from sppruner_server.errors.guard import Guard
from sppruner_server.errors.refusal import REQUEST_ID, Refusal, answer
from sppruner_server.request.attempt import note_accepted, note_failure
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse, Response
from vllm.exceptions import GenerationError, QueueOverflowError, VLLMNotFoundError, VLLMValidationError
from vllm.v1.engine.exceptions import EngineDeadError

from sppruner_vllm.api.refusing import refusing
from sppruner_vllm.errors import InvalidField, RowCountError

OPENAI, ANTHROPIC = "/v1/chat/completions", "/v1/messages"
START = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]}


class Seen:
    """What a client got."""

    def __init__(self, messages: list[dict[str, Any]]) -> None:
        starts = [message for message in messages if message["type"] == "http.response.start"]
        assert len(starts) == 1, "an answer begins once"
        self.status = starts[0]["status"]
        self.headers = {name.decode(): value.decode() for name, value in starts[0]["headers"]}
        self.pieces = [m["body"] for m in messages if m["type"] == "http.response.body"]
        self.ended = not messages[-1].get("more_body", False)

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(b"".join(self.pieces))

    @property
    def error(self) -> dict[str, Any]:
        return self.json["error"]


def ask(app: Callable[..., Any], path: str = OPENAI, method: str = "POST", guards: int = 2) -> Seen:
    """Serve one request as our routes do: a guard round the route, and one round all."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    for _ in range(guards):
        app = Guard(app)
    scope = {"type": "http", "method": method, "path": path, "headers": [], "state": {REQUEST_ID: "an-id"}}
    asyncio.run(app(scope, receive, send))
    return Seen(sent)


def raising(exc: Exception, *, accepted: bool = False) -> Callable[..., Any]:
    async def app(*_: Any) -> None:
        if accepted:
            note_accepted()
        raise exc

    return app


def streaming(
    pieces: Iterable[bytes], *, accepted: int | None = 0, then: Exception | None = None
) -> Callable[..., Any]:
    """A stream; the engine takes its request before that piece, None for never."""

    async def app(_: Any, __: Any, send: Any) -> None:
        await send(START)
        for number, piece in enumerate(pieces):
            if number == accepted:
                note_accepted()
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        if then is not None:
            raise then
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return app


# Exceptions


@pytest.mark.parametrize(
    "exc",
    [
        AttributeError("'list' object has no attribute 'get'"),
        KeyError("x"),
        ZeroDivisionError("division by zero"),
        AssertionError("Expected code to be unreachable"),
        RecursionError("maximum recursion depth exceeded"),
        RuntimeError("upper bound and lower bound inconsistent"),
        OverflowError("int too big to convert"),
        UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
    ],
    ids=lambda exc: type(exc).__name__,
)
def test_what_is_raised_while_a_request_is_read_is_a_400_whatever_its_class(exc: Exception) -> None:
    seen = ask(raising(exc))
    assert (seen.status, seen.error["code"], seen.error["type"]) == (400, "invalid_value", "invalid_request_error")


def test_what_the_processor_refuses_keeps_the_code_and_the_field_of_the_refusal() -> None:
    with pytest.raises(VLLMValidationError) as caught, refusing():
        raise InvalidField("keep_ratio", "the prompt is too long", code="invalid_keep_ratio")
    for accepted in (False, True):
        seen = ask(raising(caught.value, accepted=accepted))
        assert (seen.status, seen.error["code"], seen.error["param"]) == (400, "invalid_keep_ratio", "keep_ratio")
        assert seen.error["message"] == "the prompt is too long"


@pytest.mark.parametrize(
    "exc",
    [
        MemoryError(),
        OSError(28, "No space left on device"),
        EngineDeadError(),
        GenerationError(),
        RowCountError("64 rows for 32 places"),
        RuntimeError("cannot schedule new futures after shutdown"),
    ],
    ids=lambda exc: type(exc).__name__,
)
def test_what_no_value_can_cause_stays_a_500_and_says_nothing_of_it(exc: Exception) -> None:
    seen = ask(raising(exc))
    assert (seen.status, seen.error["type"]) == (500, "server_error")
    assert "space left" not in seen.error["message"]
    assert "rows for" not in seen.error["message"]


@pytest.mark.parametrize("exc", [ValueError("out of range"), AttributeError("x"), TypeError("x")], ids=repr)
def test_what_is_raised_after_the_engine_took_the_request_is_a_500(exc: Exception) -> None:
    seen = ask(raising(exc, accepted=True))
    assert (seen.status, seen.error["code"]) == (500, "internal_error")
    assert "out of range" not in seen.error["message"]


@pytest.mark.parametrize(
    ("exc", "status", "code", "param"),
    [
        (InvalidField("keep_ratio", "no"), 400, "invalid_keep_ratio", "keep_ratio"),
        (VLLMValidationError("n is bad", parameter="n", value=0), 400, "invalid_value", "n"),
        (VLLMNotFoundError("no such thing"), 404, "not_found", None),
        (QueueOverflowError(), 503, "server_overloaded", None),
        (EngineDeadError(), 500, "engine_dead", None),
    ],
    ids=["ours", "value", "not found", "queue", "dead"],
)
def test_what_says_what_it_is_keeps_its_code(exc: Exception, status: int, code: str, param: str | None) -> None:
    seen = ask(raising(exc))
    assert (seen.status, seen.error["code"], seen.error["param"]) == (status, code, param)


def test_a_busy_server_says_when_to_come_again() -> None:
    assert ask(raising(QueueOverflowError())).headers["retry-after"] == "1"


def test_a_client_that_left_is_no_error_of_anybodys() -> None:
    with pytest.raises(ClientDisconnect):
        ask(raising(ClientDisconnect()))


def test_vllms_value_is_not_quoted_twice() -> None:
    seen = ask(raising(VLLMValidationError("n must be at least 1, got 0.", parameter="n", value=0)))
    assert seen.error["message"] == "n must be at least 1, got 0."


# Answers


@pytest.mark.parametrize(
    ("response", "status", "code"),
    [
        (JSONResponse({"error": "Unauthorized"}, 401), 401, "invalid_api_key"),
        (JSONResponse({"detail": "Not Found"}, 404), 404, "not_found"),
        (JSONResponse({"detail": [{"msg": "x"}]}, 422), 400, "invalid_value"),
        (JSONResponse({"error": {"message": "x", "type": "BadRequestError", "code": 400}}, 400), 400, "invalid_value"),
        (JSONResponse({"error": {"message": "x", "type": "X", "code": 501}}, 501), 500, "internal_error"),
        (JSONResponse({"message": "no", "id": "x"}, 403), 403, "permission_denied"),
        (PlainTextResponse("too large", 413), 413, "request_too_large"),
        (PlainTextResponse("teapot", 418), 400, "invalid_value"),
        (Response(status_code=503), 503, "server_overloaded"),
        (JSONResponse([], 500), 500, "internal_error"),
    ],
    ids=lambda value: str(getattr(value, "status_code", value)),
)
@pytest.mark.parametrize("path", [OPENAI, ANTHROPIC])
def test_an_error_of_anyones_comes_out_in_the_vocabulary(response: Response, status: int, code: str, path: str) -> None:
    seen = ask(response, path)
    assert (seen.status, seen.error["code"]) == (status, code)
    assert seen.headers["content-length"] == str(len(b"".join(seen.pieces)))
    assert ("request_id" in seen.json) == (path == ANTHROPIC)


def test_headers_of_an_error_stay() -> None:
    seen = ask(JSONResponse({"error": "busy"}, 503, {"retry-after": "7", "x-else": "kept"}))
    assert (seen.headers["retry-after"], seen.headers["x-else"]) == ("7", "kept")


def test_a_401_says_how_to_send_a_key() -> None:
    assert ask(JSONResponse({"error": "Unauthorized"}, 401)).headers["www-authenticate"] == "Bearer"


def test_the_fault_behind_a_500_of_vllms_is_told_where_it_is_known() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        note_failure(InvalidField("image_url", "no picture", code="invalid_image"))
        await JSONResponse({"type": "error", "error": {"type": "x", "message": "y"}}, 500)(scope, receive, send)

    seen = ask(app, ANTHROPIC)
    assert (seen.status, seen.error["code"], seen.error["param"]) == (400, "invalid_image", "image_url")
    assert seen.json["request_id"] == "an-id"


def test_what_was_refused_in_one_apis_shape_comes_out_in_that_of_the_path() -> None:
    body = {"error": {"message": "stopping", "type": "overloaded_error", "param": None, "code": "shutting_down"}}
    seen = ask(JSONResponse(body, 503), ANTHROPIC)
    assert seen.json["type"] == "error"
    assert (seen.error["type"], seen.error["code"]) == ("overloaded_error", "shutting_down")


def test_answers_that_are_no_errors_pass_untouched() -> None:
    seen = ask(JSONResponse({"error": None}, headers={"x-else": "kept"}))
    assert (seen.status, seen.json, seen.headers["x-else"]) == (200, {"error": None}, "kept")


def test_an_answer_to_head_has_no_body() -> None:
    seen = ask(JSONResponse({"detail": "Method Not Allowed"}, 405), method="HEAD")
    assert (seen.status, b"".join(seen.pieces)) == (405, b"")


def test_an_api_with_errors_of_its_own_keeps_them() -> None:
    assert ask(JSONResponse({"message": "no"}, 400), "/cohere/v2/chat").json == {"message": "no"}


def test_a_message_is_printable_and_bounded() -> None:
    seen = ask(raising(InvalidField("model", "half \ud800 " + "x" * 5000, code="invalid_value")))
    assert len(seen.error["message"]) == 1000


# Streams

ERROR = b'data: {"error": {"message": "bad n", "type": "BadRequestError", "param": "n", "code": 400}}\n\n'
DONE = b"data: [DONE]\n\n"


@pytest.mark.parametrize("before", [[], [b"event: response.created\ndata: {}\n\n"]], ids=["at once", "later"])
def test_a_stream_that_fails_before_the_engine_took_it_is_refused_with_its_status(before: list[bytes]) -> None:
    seen = ask(streaming([*before, ERROR, DONE], accepted=None))
    assert (seen.status, seen.error["code"], seen.error["param"]) == (400, "invalid_value", "n")
    assert seen.headers["content-type"] == "application/json"
    assert seen.ended


def test_a_stream_that_raises_before_the_engine_took_it_is_refused_with_its_status() -> None:
    seen = ask(streaming([b"data: {}\n\n"], accepted=None, then=AttributeError("x")))
    assert (seen.status, seen.error["code"]) == (400, "invalid_value")


def test_a_stream_that_is_fetched_and_is_not_there_is_refused_with_its_status() -> None:
    async def app(_: Any, __: Any, send: Any) -> None:
        await send(START)
        raise ValueError("Unknown response_id: resp_a")

    seen = ask(app, "/v1/responses/resp_a", method="GET")
    assert (seen.status, seen.error["code"]) == (404, "not_found")


def test_a_stream_that_is_fetched_waits_for_nothing() -> None:
    begun: list[int] = []

    async def app(_: Any, __: Any, send: Any) -> None:
        await send(START)
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        begun.append(1)
        raise ValueError("broken")

    seen = ask(app, "/v1/responses/resp_a", method="GET")
    assert (seen.status, begun, seen.pieces[0]) == (200, [1], b"data: 1\n\n")
    assert seen.pieces[-1].startswith(b"event: error")


def test_a_stream_passes_piece_by_piece_once_the_engine_has_it() -> None:
    pieces = [b"data: 1\n\n", b"data: 2\n\n", b": still there\n\n", DONE]
    seen = ask(streaming(pieces, accepted=1))
    assert seen.pieces == [*pieces, b""]


def test_a_stream_that_asks_no_engine_is_not_held_for_ever() -> None:
    pieces = [b"data: %d\n\n" % number for number in range(20)]
    assert ask(streaming(pieces, accepted=None)).pieces == [*pieces, b""]


@pytest.mark.parametrize(
    ("path", "begin"),
    [(OPENAI, b'data: {"error":{'), ("/v1/responses", b"event: error\n"), (ANTHROPIC, b"event: error\n")],
)
def test_an_error_inside_a_stream_is_the_apis_event(path: str, begin: bytes) -> None:
    seen = ask(streaming([b"data: 1\n\n", ERROR + DONE]), path)
    first, last, _ = seen.pieces
    assert first == b"data: 1\n\n"
    assert last.startswith(begin)
    event, _, rest = last.partition(b"\n\n")
    assert rest == DONE
    document = json.loads(event.partition(b"data: ")[2])
    assert document["error"]["code"] == "invalid_value"
    assert document.get("request_id") == ("an-id" if path == ANTHROPIC else None)
    assert document.get("sequence_number") == (1 if path == "/v1/responses" else None)


@pytest.mark.parametrize("path", [OPENAI, "/v1/responses", ANTHROPIC])
def test_a_stream_that_breaks_ends_with_an_event_and_not_with_the_connection(path: str) -> None:
    seen = ask(streaming([b"data: 1\n\n"], then=RuntimeError("the engine's secret")), path)
    assert seen.ended
    assert b'"code":"internal_error"' in seen.pieces[-1]
    assert b"secret" not in seen.pieces[-1]


def test_a_client_that_leaves_a_stream_ends_it() -> None:
    with pytest.raises(OSError, match="gone"):
        ask(streaming([b"data: 1\n\n"], then=OSError("gone")))


# Refusals


def test_a_refusal_is_of_the_table_or_is_none() -> None:
    with pytest.raises(ValueError, match="table"):
        Refusal(400, "no_such_code", "x")
    with pytest.raises(ValueError, match="table"):
        Refusal(500, "invalid_value", "x")


@pytest.mark.parametrize("path", [OPENAI, ANTHROPIC])
@pytest.mark.parametrize("code", CODES)
def test_every_code_passes_both_guards_as_it_is(code: str, path: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(Refusal(CODES[code].status, code, "said", "field"), scope, receive, send)

    assert ask(app, path).json == ask(app, path, guards=0).json
