"""Arithmetic of the prefill benchmark."""

from __future__ import annotations

import pytest

from sppruner_vllm.evaluation.bench_smoke import ratios
from sppruner_vllm.evaluation.prefill import Prefill


def test_the_ideal_keeps_the_encoder_and_the_kept_share_of_the_language_model() -> None:
    full = Prefill(1300, total=10.0, encoder=2.0, selection=0.0)
    reduced = Prefill(300, total=4.4, encoder=2.0, selection=0.06)
    found = ratios([full], [reduced], 0.25)
    assert found["reduced / full"] == pytest.approx([0.44])
    assert found["ideal / full"] == pytest.approx([0.4])
    assert found["reduced / ideal"] == pytest.approx([1.1])
    assert found["selection / saved"] == pytest.approx([0.06 / (8.0 - 2.34)])
