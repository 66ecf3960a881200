"""Figures of a run: equal to those that vLLM's own bench computes from the same requests."""

from __future__ import annotations

import dataclasses
import random

import pytest

from loadtest.agreement import compare
from loadtest.arrivals import Pace
from loadtest.bench_keys import PERCENTILES, bench_result
from loadtest.sample import Sample
from loadtest.server_metrics import Reading, kv_turns, read_gauges
from loadtest.slo import OK, SLO_MISSED, TOO_MANY_ERRORS, Slo, exit_status, parse_slo
from loadtest.stream import StreamedAnswer, Usage, failed
from loadtest.summary import Setting, summarise


def sample(number: int = 0, ratio: float | None = 1.0, start: float = 0.0, **fields: object) -> Sample:
    values = {
        "ttft_s": 0.1,
        "end_s": 0.5,
        "gaps_s": (0.2, 0.2),
        "usage": Usage(30, 3, 100, 100),
        "text": "a",
        "error": None,
    }
    return Sample(number, 0, "single", ratio, start, 0.0, StreamedAnswer(**{**values, **fields}))


def random_samples(count: int = 300) -> list[Sample]:
    """Some with one token, some failed."""
    dice = random.Random(5)
    samples = []
    for number in range(count):
        start, ttft = dice.uniform(0, 20), dice.uniform(0.01, 0.4)
        if number % 17 == 0:
            samples.append(dataclasses.replace(sample(number, start=start), answer=failed("no room", ttft)))
            continue
        gaps = tuple(dice.uniform(0.001, 0.1) for _ in range(dice.choice((0, 3, 12))))
        usage = Usage(dice.randint(20, 90), len(gaps) + 1)
        samples.append(sample(number, start=start, ttft_s=ttft, end_s=ttft + sum(gaps), gaps_s=gaps, usage=usage))
    return samples


def test_every_figure_is_the_one_of_vllms_bench():
    from vllm.benchmarks.lib.endpoint_request_func import RequestFuncOutput
    from vllm.benchmarks.serve import calculate_metrics

    samples = random_samples()
    limits = {"ttft": 300.0, "tpot": 60.0, "e2el": 900.0}
    ours = bench_result(samples, Slo(**limits))
    outputs = [
        RequestFuncOutput(
            success=one.ok,
            latency=one.answer.end_s,
            ttft=one.answer.ttft_s or 0.0,
            itl=list(one.answer.gaps_s),
            output_tokens=one.answer.usage.output_tokens,
            prompt_len=one.answer.usage.prompt_tokens,
            start_time=one.start_s,
        )
        for one in samples
    ]
    theirs, lengths = calculate_metrics([], outputs, ours["duration"], None, list(PERCENTILES), limits)
    assert ours["output_lens"] == lengths
    names = {"total_input": "total_input_tokens", "total_output": "total_output_tokens"}
    compared = set()
    for name, value in dataclasses.asdict(theirs).items():
        if name.startswith("percentiles_"):
            metric = name.removeprefix("percentiles_")
            figures = {f"p{percent}_{metric}": figure for percent, figure in value}
        else:
            figures = {names.get(name, name): value}
        for key, figure in figures.items():
            assert ours[key] == pytest.approx(figure), key
        compared |= figures.keys()
    assert {"request_goodput", "p99_ttft_ms", "median_tpot_ms", "max_concurrent_requests"} <= compared
    assert 0 < ours["request_goodput"] < ours["request_throughput"]


def test_a_run_without_an_answer_has_figures_of_zero_as_in_the_bench():
    result = bench_result([dataclasses.replace(sample(), answer=failed("gone", 1.0))], None)
    assert (result["completed"], result["failed"], result["p99_ttft_ms"], result["request_goodput"]) == (
        0,
        1,
        0.0,
        None,
    )


def test_an_slo_is_kept_up_to_its_limit_and_by_answers_only():
    slo = parse_slo("ttft:100,tpot:200,e2e:500")
    assert slo == Slo(100, 200, 500)
    assert slo.kept_by(sample().answer)
    assert not slo.kept_by(sample(ttft_s=0.1001).answer)
    assert not slo.kept_by(sample(end_s=0.51).answer)
    assert not slo.kept_by(failed("gone", 0.0))


@pytest.mark.parametrize(
    "text", ["", "ttft", "ttft:0", "ttft:x", "speed:3", "ttft:1,ttft:2", "e2e:1,e2el:2", "tpot:inf"]
)
def test_a_wrong_slo_is_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011 (float() has its own words)
        parse_slo(text)


def test_the_exit_status_tells_errors_from_a_missed_slo():
    fast, slow, lost = sample().answer, sample(ttft_s=3.0, end_s=4.0).answer, failed("gone", 0.0)
    slo = Slo(ttft=500, share=0.75)
    assert exit_status([fast, fast, fast, slow], slo, 0) == OK
    assert exit_status([fast, fast, slow, slow], slo, 0) == SLO_MISSED
    assert exit_status([fast, fast, fast, lost], slo, 0.25) == OK
    assert exit_status([fast, fast, fast, lost], slo, 0.2) == TOO_MANY_ERRORS
    assert exit_status([slow], None, 0) == OK
    assert exit_status([], None, 1) == exit_status([lost], None, 1) == TOO_MANY_ERRORS


def test_a_run_is_told_by_keep_ratio_with_its_visual_tokens():
    samples = [
        sample(0, 1.0, 0.0),
        sample(1, 0.25, 1.0, usage=Usage(15, 3, 100, 25)),
        sample(2, 0.25, 2.0, usage=Usage(15, 3, 200, 50)),
        sample(3, None, 3.0, usage=Usage(10, 3)),
    ]
    setting = Setting("m", "steady", 1, None, Slo(ttft=500), 0.0, {})
    ours = summarise(samples, setting, None, [Reading(1.5, 0.2, 0, 1), Reading(2.5, 0.4, None, 1)])["sppruner"]
    by_ratio = {group["keep_ratio"]: group for group in ours["ratios"]}
    assert by_ratio.keys() == {"1", "0.25", "default"}
    assert by_ratio["0.25"]["visual_tokens"] == {"original": 300, "retained": 75, "retained_ratio": 0.25}
    assert by_ratio["default"]["visual_tokens"]["retained_ratio"] == 1.0
    assert sum(group["output_throughput"] for group in ours["ratios"]) == pytest.approx(12 / 3.5)
    assert ours["server"]["kv_cache_usage"] == {"mean": pytest.approx(0.3), "max": 0.4}
    assert ours["server"]["waiting"] == {"mean": 0, "max": 0}
    assert ours["good_share"] == 1.0


def test_an_open_loop_tells_its_rate_and_its_pace():
    setting = Setting("m", "poisson", None, 4.0, None, 0.0, {})
    result = summarise([sample()], setting, Pace(100, 2, 0.3), [])
    assert (result["request_rate"], result["max_concurrency"]) == (4.0, None)
    assert result["sppruner"]["pace"]["kept"] is False


def test_gauges_are_read_by_their_exact_name():
    page = """# HELP vllm:kv_cache_usage_perc KV-cache usage.
vllm:kv_cache_usage_perc{engine="0",model_name="a b"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="a b"} 0.75
vllm:num_requests_waiting{engine="0"} 3.0
vllm:num_requests_waiting{engine="1"} 1.0
vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 9.0
"""
    assert read_gauges(page, 7.0) == Reading(7.0, 0.5, 4.0, None)
    ours = "sppruner_default_keep_ratio 0.55\nsppruner_requests_waiting 6.0\n"
    assert read_gauges(page + ours, 7.0) == Reading(7.0, 0.5, 4.0, None, 0.55, 6.0)


def test_the_kv_cache_has_been_gone_through_so_often():
    page = """vllm:cache_config_info{_block_size_resolved="True",block_size="32",engine="0",num_gpu_blocks="100"} 1.0
vllm:cache_config_info{_block_size_resolved="True",block_size="32",engine="1",num_gpu_blocks="100"} 1.0
vllm:prompt_tokens_total{engine="0"} 9000.0
vllm:prompt_tokens_total{engine="1"} 5000.0
vllm:prefix_cache_hits_total{engine="0"} 2000.0
vllm:generation_tokens_total{engine="0"} 800.0
"""
    assert kv_turns(page) == 2.0
    assert kv_turns("") is None


def test_two_tools_agree_within_a_tenth_or_five_milliseconds():
    bench = bench_result([sample(number, start=number) for number in range(100)], None)
    near = bench_result([sample(number, start=number, ttft_s=0.104) for number in range(100)], None)
    far = bench_result([sample(number, start=number, ttft_s=0.112) for number in range(100)], None)
    assert all(comparison.agrees for comparison in compare([bench], [near]))
    apart = [comparison.name for comparison in compare([bench], [far]) if not comparison.agrees]
    assert apart == ["TTFT p50", "TTFT p99"]
