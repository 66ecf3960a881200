"""What is known of the request being served, shared by the route, the renderer gate and the outcome counter.

A context variable carries it: vLLM's handlers run in tasks made from the route's task, which inherit the context and so
the very same object. Routes that are not ours have no record.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from sppruner_vllm.accounting import VisualTokens
from sppruner_vllm.metrics import Outcome


@dataclass(slots=True)
class RequestRecord:
    """Filled in while the request is served.

    fields: reduction fields that vLLM's handler would lose on the way to the renderer.
    visual_tokens: the account of the prompt's images; None without images and until it is rendered.
    outcome: set where the HTTP status does not tell it (errors inside a stream, clients that left).
    """

    fields: dict[str, object] = field(default_factory=dict)
    visual_tokens: VisualTokens | None = None
    outcome: Outcome | None = None


_current: ContextVar[RequestRecord | None] = ContextVar("sppruner_request", default=None)


def current_record() -> RequestRecord | None:
    """The record of the request this task serves, None outside our routes."""
    return _current.get()


@contextmanager
def recording() -> Iterator[RequestRecord]:
    """A fresh record for the time one request is served."""
    record = RequestRecord()
    token = _current.set(record)
    try:
        yield record
    finally:
        _current.reset(token)
