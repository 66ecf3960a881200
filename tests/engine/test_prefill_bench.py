"""The benchmark's parts on the tiny model; how long they take is not asserted."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines import keep_alive
from sppruner_vllm.evaluation.prefill import Bench


def test_a_prefill_is_split_into_encoder_selection_and_language_model(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    bench = keep_alive(Bench(tiny_model, pixels=280, dtype="float32"))
    full, reduced = bench.prefill(1.0), bench.prefill(0.25)
    assert full.prompt_tokens - reduced.prompt_tokens == 100 - 25
    assert full.selection == 0 < reduced.selection
    # Not a bound on time: whatever the machine, the encoder is a visible part of a prefill, and not the whole.
    for run in (full, reduced):
        assert run.total / 100 < run.encoder < run.total
        assert run.language_model > 0
