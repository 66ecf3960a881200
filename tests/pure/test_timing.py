"""The selection's time on a CPU: a metric always, a span when the worker traces."""

from __future__ import annotations

import pytest
import torch
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import REGISTRY

from sppruner_vllm.worker import timing
from sppruner_vllm.worker.timing import SELECT_SPAN, SelectionTimer

CPU = torch.device("cpu")


def observed(method: str) -> float:
    return REGISTRY.get_sample_value("sppruner_selection_seconds_count", {"method": method}) or 0.0


def test_each_batch_is_observed_once_under_its_method() -> None:
    before = observed("uniform"), observed("random")
    with SelectionTimer().measure("uniform", CPU):
        pass
    assert (observed("uniform"), observed("random")) == (before[0] + 1, before[1])


def test_a_batch_that_fails_is_not_observed() -> None:
    before = observed("uniform")
    with pytest.raises(ZeroDivisionError), SelectionTimer().measure("uniform", CPU):
        _ = 1 / 0
    assert observed("uniform") == before


def test_a_worker_that_traces_has_a_span_as_long_as_the_selection(monkeypatch: pytest.MonkeyPatch) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(timing.trace, "get_tracer", provider.get_tracer)
    total = "sppruner_selection_seconds_sum"
    before = REGISTRY.get_sample_value(total, {"method": "uniform"}) or 0.0
    with SelectionTimer().measure("uniform", CPU):
        torch.ones(1000).sum()
    (span,) = exporter.get_finished_spans()
    seconds = (REGISTRY.get_sample_value(total, {"method": "uniform"}) or 0.0) - before
    assert (span.name, dict(span.attributes or {})) == (SELECT_SPAN, {"sppruner.method": "uniform"})
    assert span.end_time is not None
    assert span.start_time is not None
    assert (span.end_time - span.start_time) / 1e9 == pytest.approx(seconds, abs=1e-6)
