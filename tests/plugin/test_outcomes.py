"""How the end of a request is classified."""

import asyncio

import pytest
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient
from sppruner_server.request.attempt import note_accepted
from sppruner_server.request.record import current_record
from sppruner_server.routes import outcomes
from sppruner_server.routes.outcomes import RecordedRoute, outcome_of, outcome_of_event

from sppruner_vllm.errors import InvalidField
from sppruner_vllm.planning.accounting import VisualTokens

TOKENS = VisualTokens(64, 32, 0.5, "uniform", None)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(200, "success"), (400, "client_error"), (404, "client_error"), (500, "server_error"), (503, "server_error")],
)
def test_a_whole_answer_counts_by_its_status(status, outcome):
    assert outcome_of(status, complete=True) == outcome


@pytest.mark.parametrize("status", [0, 200, 500])
def test_an_answer_cut_short_means_that_the_client_left(status):
    assert outcome_of(status, complete=False) == "client_disconnect"


@pytest.mark.parametrize(
    ("event", "outcome"),
    [
        (b'data: {"error":{"message":"too long","code":"invalid_value"}}\n\n', "client_error"),
        (b'data: {"error":{"message":"too long","code":"invalid_value"}}\n\ndata: [DONE]\n\n', "client_error"),
        (b'data: {"error":{"message":"it failed","code":"internal_error"}}\n\n', "server_error"),
        (b'event: error\ndata: {"type":"error","error":{"code":"invalid_value"}}\n\n', "client_error"),
        (b'event: error\ndata: {"type":"error","error":{"type":"x","message":"y"}}\n\n', "server_error"),
        (b'event: response.failed\ndata: {"type":"response.failed"}\n\n', "server_error"),
        (b'data: {"choices":[{"delta":{"content":"error"}}]}\n\n', None),
        (b"data: [DONE]\n\n", None),
        (b": keep-alive\n\n", None),
    ],
)
def test_an_error_inside_a_stream_counts_although_its_status_was_200(event, outcome):
    assert outcome_of_event(event) == outcome


@pytest.fixture
def settled(monkeypatch):
    """Serves one request with a handler; what was counted and withdrawn, in order."""
    seen = []
    monkeypatch.setattr(outcomes, "count_visual_tokens", seen.append)
    monkeypatch.setattr(outcomes, "count_request", seen.append)
    monkeypatch.setattr(outcomes, "count_rejection", lambda code: seen.append(("rejected", code)))

    def serve(handler):
        def handle():
            record = current_record()
            record.accounts.append(TOKENS)
            record.withdrawals.append(lambda: seen.append("withdrawn"))
            return handler(record)

        router = APIRouter(route_class=RecordedRoute)
        router.add_api_route("/", handle, response_model=None)
        app = FastAPI()
        app.include_router(router)
        TestClient(app, raise_server_exceptions=False).get("/")
        return seen

    return serve


def test_a_request_that_was_served_counts_its_visual_tokens_and_withdraws_nothing(settled):
    assert settled(lambda _: JSONResponse({})) == [TOKENS, "success"]


def test_a_request_that_was_refused_withdraws_its_images_and_counts_none(settled):
    assert settled(lambda _: JSONResponse({}, status_code=500)) == ["withdrawn", "server_error"]


def test_a_client_error_is_counted_with_what_it_was_refused_for(settled):
    def refuse(_):
        raise InvalidField("keep_ratio", "must be in (0, 1]")

    assert settled(refuse) == ["withdrawn", ("rejected", "invalid_keep_ratio"), "client_error"]


def test_a_refusal_of_vllms_is_counted_by_what_it_is_answered_with(settled):
    seen = settled(lambda _: JSONResponse({}, status_code=404))
    assert seen == ["withdrawn", ("rejected", "not_found"), "client_error"]


def test_what_cannot_be_read_is_the_clients_fault_and_withdraws_its_images(settled):
    assert settled(lambda _: 1 / 0) == ["withdrawn", ("rejected", "invalid_value"), "client_error"]


def test_what_fails_after_the_engine_has_it_is_the_servers_fault(settled):
    def fail(_):
        note_accepted()
        return 1 / 0

    assert settled(fail) == ["withdrawn", "server_error"]


def test_a_request_that_was_refused_inside_its_stream_withdraws_its_images(settled):
    def refuse(record):
        record.outcome = "client_error"
        return JSONResponse({})

    assert settled(refuse) == ["withdrawn", ("rejected", None), "client_error"]


def test_a_prompt_that_was_only_counted_moves_no_token_counter(settled):
    def count(record):
        record.dry = True
        return JSONResponse({})

    assert settled(count) == ["success"]


@pytest.mark.parametrize("leaves", [True, False])
def test_what_breaks_behind_a_client_that_left_is_no_fault_of_the_server(monkeypatch, leaves):
    seen = []
    monkeypatch.setattr(outcomes, "count_request", seen.append)

    async def handle(request: Request):
        note_accepted()
        while leaves and (await request.receive())["type"] != "http.disconnect":
            pass
        return 1 / 0

    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        pass

    router = APIRouter(route_class=RecordedRoute)
    router.add_api_route("/", handle, response_model=None)
    app = FastAPI()
    app.include_router(router)
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}
    asyncio.run(app(scope, receive, send))
    assert seen == ["client_disconnect" if leaves else "server_error"]
