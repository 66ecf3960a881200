"""OpenTelemetry spans of a request's stages in this process, in the trace of the client and of vLLM.

vLLM sets up a tracer provider when it is started with --otlp-traces-endpoint; without one, all this does nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.datastructures import Headers
from starlette.types import Scope
from vllm.tracing import extract_trace_context

from sppruner_vllm.metrics.labels import Outcome
from sppruner_vllm.planning.accounting import VisualTokens

REQUEST: Final = "sppruner.request"
VALIDATE: Final = "sppruner.validate"
RENDER: Final = "sppruner.render"

_tracer: Final = trace.get_tracer("sppruner_server")


@contextmanager
def request_span(scope: Scope, route: str) -> Iterator[Span]:
    """A span around one request, until its last byte; child of the span that is active, else of the client's."""
    active = trace.get_current_span().get_span_context().is_valid
    parent = None if active else extract_trace_context(Headers(scope=scope))
    with _tracer.start_as_current_span(
        REQUEST, context=parent, kind=SpanKind.SERVER, attributes={"http.route": route}
    ) as span:
        yield span


def stage(name: str) -> AbstractContextManager[Span]:
    """A span of one stage of the current request; an exception that leaves the block is noted on it."""
    return _tracer.start_as_current_span(name)


def note_outcome(span: Span, outcome: Outcome) -> None:
    """How the request ended; a server error marks the span as failed."""
    span.set_attribute("sppruner.outcome", outcome)
    if outcome == "server_error":
        span.set_status(Status(StatusCode.ERROR))


def note_visual_tokens(span: Span, tokens: VisualTokens) -> None:
    """What was reduced, as in `usage`."""
    # An attribute is no list of objects: those of single images stay out.
    told = {name: value for name, value in tokens.as_usage().items() if isinstance(value, str | int | float)}
    span.set_attributes({f"sppruner.visual_tokens.{name}": value for name, value in told.items()})


def engine_trace_headers() -> dict[str, str] | None:
    """W3C headers by which vLLM hangs its own span of the request below ours; None when nothing is traced."""
    if not trace.get_current_span().is_recording():
        return None
    headers: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(headers)
    return headers
