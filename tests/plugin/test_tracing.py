"""The spans of a request, as OpenTelemetry's SDK collects them."""

from types import SimpleNamespace

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, get_tracer
from sppruner_server import tracing
from sppruner_server.routes.outcomes import RecordedRoute
from sppruner_server.tracing import RENDER, VALIDATE, engine_trace_headers, note_visual_tokens, stage

from sppruner_vllm.planning.accounting import ImageTokens, VisualTokens

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def spans(monkeypatch):
    """Turns tracing on; the finished spans by name."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "_tracer", provider.get_tracer("tests"))
    return lambda: {span.name: span for span in exporter.get_finished_spans()}


def serve(handler, **headers):
    """One request to a route that is recorded like ours."""
    router = APIRouter(route_class=RecordedRoute)
    router.add_api_route("/here", handler, response_model=None)
    app = FastAPI()
    app.include_router(router)
    return TestClient(app, raise_server_exceptions=False).get("/here", headers=headers)


def staged():
    with stage(VALIDATE):
        pass
    with stage(RENDER) as span:
        note_visual_tokens(span, VisualTokens(64, 16, 0.25, "uniform", None))
    return JSONResponse(engine_trace_headers())


def test_the_stages_hang_below_the_request_and_the_request_below_the_client(spans):
    serve(staged, traceparent=f"00-{TRACE}-{PARENT}-01")
    request, validate, render = (spans()[name] for name in (tracing.REQUEST, VALIDATE, RENDER))
    assert f"{request.parent.span_id:016x}" == PARENT
    assert {f"{span.context.trace_id:032x}" for span in (request, validate, render)} == {TRACE}
    assert validate.parent.span_id == render.parent.span_id == request.context.span_id
    assert request.start_time <= validate.start_time <= render.start_time <= render.end_time <= request.end_time


def test_what_no_attribute_can_hold_is_left_out():
    given = {}
    images = (ImageTokens(64, 16, 0.25, None),)
    span = SimpleNamespace(set_attributes=given.update)
    note_visual_tokens(span, VisualTokens(64, 16, 0.25, "uniform", None, images=images))
    assert given["sppruner.visual_tokens.retained"] == 16
    assert all(isinstance(value, str | int | float) for value in given.values())


def test_a_request_without_a_trace_begins_one(spans):
    serve(staged)
    assert spans()[tracing.REQUEST].parent is None
    assert spans()[tracing.REQUEST].kind is SpanKind.SERVER


def test_vllms_span_is_told_to_hang_below_ours(spans):
    version, trace, parent, _ = serve(staged).json()["traceparent"].split("-")
    request = spans()[tracing.REQUEST].context
    assert (version, trace, parent) == ("00", f"{request.trace_id:032x}", f"{request.span_id:016x}")


def test_spans_tell_the_route_the_outcome_and_what_was_reduced(spans):
    serve(staged)
    assert dict(spans()[tracing.REQUEST].attributes) == {"http.route": "/here", "sppruner.outcome": "success"}
    assert dict(spans()[RENDER].attributes) == {
        "sppruner.visual_tokens.original": 64,
        "sppruner.visual_tokens.retained": 16,
        "sppruner.visual_tokens.keep_ratio": 0.25,
        "sppruner.visual_tokens.method": "uniform",
    }


@pytest.mark.parametrize(
    ("status", "outcome", "code"),
    [(400, "client_error", StatusCode.UNSET), (500, "server_error", StatusCode.ERROR)],
)
def test_a_failure_of_ours_marks_the_span_and_one_of_the_client_does_not(spans, status, outcome, code):
    serve(lambda: JSONResponse({}, status_code=status))
    assert spans()[tracing.REQUEST].attributes["sppruner.outcome"] == outcome
    assert spans()[tracing.REQUEST].status.status_code is code


def test_without_tracing_nothing_is_handed_on_even_when_the_client_traces(monkeypatch):
    monkeypatch.setattr(tracing, "_tracer", get_tracer("no provider"))
    assert serve(staged, traceparent=f"00-{TRACE}-{PARENT}-01").json() is None
