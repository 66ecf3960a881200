"""What a worker measures when it is warm, and what an API process does with it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cases import SQUARE, Case
from engines import ask, operated_with
from sppruner_vllm import parts as channel
from sppruner_vllm.parts import published
from sppruner_vllm.planning.paying import Parts
from sppruner_vllm.worker import measuring
from sppruner_vllm.worker.measuring import measure

SLOW, QUICK = 10.0, 1e-9
"""Seconds that selecting among an image's rows might take."""


@pytest.fixture
def worker(llm: Any) -> Any:
    return llm.llm_engine.model_executor.driver_worker.worker


@pytest.fixture
def measured(worker: Any, monkeypatch: pytest.MonkeyPatch) -> Parts:
    monkeypatch.setattr(channel, "_here", {})
    measure(worker)
    found = published(worker.model_config.model)
    assert found is not None
    return found


def test_a_warm_worker_finds_what_each_part_takes(measured: Parts) -> None:
    assert measured.method == "focus_context"
    assert measured.prefill > 0
    assert measured.selection(1024, 256) > 0


@pytest.mark.parametrize(("rounds", "found"), [(9, (3, 4)), (1, (9, 5))], ids=["alone", "one of several ranks"])
def test_prompts_that_were_held_up_are_run_again_where_no_other_rank_has_to_follow(
    monkeypatch: pytest.MonkeyPatch, rounds: int, found: tuple[int, int]
) -> None:
    """Whatever held up the shorter one, the longer one is known to take more."""
    seconds = {"shorter": iter((9, 7, 3)), "longer": iter((5, 6, 4))}
    monkeypatch.setattr(measuring, "_quickest", lambda work: next(seconds[work()]))
    assert measuring.compared(lambda: "shorter", lambda: "longer", rounds) == found


def test_measuring_leaves_no_trace_in_answers(llm: Any, worker: Any) -> None:
    case = Case((("what is on the left", (SQUARE,)),), 600)
    (before,) = ask(llm, [case], 0.25)
    measure(worker)
    llm.reset_prefix_cache()
    (after,) = ask(llm, [case], 0.25)
    assert after.tokens == before.tokens


@pytest.mark.parametrize(("seconds", "fields", "kept"), [(SLOW, {}, 144), (QUICK, {}, 72), (SLOW, {"ratio": 0.25}, 36)])
def test_a_reduction_that_would_not_pay_is_left_out_unless_the_request_insists(
    llm: Any, measured: Parts, monkeypatch: pytest.MonkeyPatch, seconds: float, fields: dict[str, float], kept: int
) -> None:
    processor = llm.llm_engine.renderer.get_mm_processor()
    monkeypatch.setitem(vars(processor), "_parts", replace(measured, image=seconds, row=0.0, pair=0.0))
    case = Case((("what is on the left", (SQUARE,)),), 601)
    with operated_with(KEEP_RATIO="0.5"):
        (answer,) = ask(llm, [case], **fields)
    image = llm.get_tokenizer().convert_tokens_to_ids("<|image_pad|>")
    assert answer.prompt_ids.count(image) == kept
    (named,) = ask(llm, [case], kept / 144)
    assert answer.tokens == named.tokens
    assert answer.prompt_ids == named.prompt_ids
