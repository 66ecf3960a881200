"""The benchmark's arithmetic, on records that no engine gave."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sppruner_vllm.evaluation.bench import ideal
from sppruner_vllm.evaluation.bench.arms import ARMS, PLAIN, REFERENCE, Arm, Engine, missing, runnable
from sppruner_vllm.evaluation.bench.models import TINY
from sppruner_vllm.evaluation.bench.plots import write_plots
from sppruner_vllm.evaluation.bench.protocol import Done, Question, Reply, Task
from sppruner_vllm.evaluation.bench.report import report
from sppruner_vllm.evaluation.bench.rounds import LOAD, NEW, SECOND, TEXT, Record, Size, lead, load, save, text_lengths
from sppruner_vllm.evaluation.bench.summary import Results, Spread

QUARTER = Arm("keep 0.25", PLAIN, {"keep_ratio": 0.25}, under_load=True)
SIZE = Size(rounds=2, load_rounds=1, side=336, small=224, users={4: 4}, tokens=2)


def done(ttft: float, prompt: int, encoding: float = 0.0, selection: float = 0.0, requests: int = 1) -> Done:
    replies = [Reply(ttft=ttft, latency=ttft + 0.1, prompt=prompt, cached=0, answer=2)] * requests
    return Done(
        replies=replies,
        seconds=requests * (ttft + 0.1),
        processing=0.05,
        encoding=encoding,
        selection=selection,
        engine=ttft + 0.1,
        first_steps=ttft,
        encoder_runs=int(encoding > 0),
        steps=2,
        kv_tokens=prompt,
        kv_blocks=-(-prompt // 32),
        running=requests,
    )


def records() -> list[Record]:
    """Two rounds of a machine that is half as fast in the second; 144 visual tokens, 16 of text."""
    found = [Record(NEW, REFERENCE.name, -1, done(99.0, 160, 1.0))]
    for number, slow in enumerate((1.0, 2.0)):
        found += [
            Record(NEW, REFERENCE.name, number, done(3.0 * slow, 160, slow)),
            Record(NEW, QUARTER.name, number, done(1.6 * slow, 52, slow, 0.05 * slow)),
            Record(SECOND, REFERENCE.name, number, done(0.5 * slow, 160)),
            Record(SECOND, QUARTER.name, number, done(1.25 * slow, 52, slow)),
            *(Record(TEXT.format(n), REFERENCE.name, number, done(n / 80 * slow, n)) for n in (160, 52, 80, 32)),
        ]
    found += [
        Record(LOAD.format(4), REFERENCE.name, 0, done(1.9, 80, requests=4)),
        Record(LOAD.format(4), QUARTER.name, 0, done(1.5, 32, requests=4)),
    ]
    return found


@pytest.fixture(scope="module")
def results() -> Results:
    return Results(records(), [REFERENCE, QUARTER], SIZE)


def test_the_ideal_saves_of_the_language_model_alone() -> None:
    assert ideal.new_picture(encoder=1, model=2, share=0.25) == pytest.approx(3 / 1.5)
    assert ideal.later_question(stock=0.5, model=2, share=0.25) == pytest.approx(1)
    assert ideal.under_load(request=4, model=2, share=0.5) == pytest.approx(4 / 3)


def test_a_new_picture_is_compared_within_its_round(results: Results) -> None:
    timing = results.timing(NEW, QUARTER)
    assert timing is not None
    assert timing.ideal is not None
    assert timing.reached is not None
    assert timing.speedup == Spread(*[pytest.approx(3 / 1.6)] * 3)
    # 52 tokens of text take 52/160 of the time that 160 take.
    best = 3 / (1 + 2 * 52 / 160)
    assert timing.ideal.median == pytest.approx(best)
    assert timing.reached.median == pytest.approx(3 / 1.6 / best)


def test_a_later_question_is_ideally_stocks_own_and_the_kept_tokens(results: Results) -> None:
    timing = results.timing(SECOND, QUARTER)
    assert timing is not None
    assert timing.ideal is not None
    assert timing.speedup.median == pytest.approx(0.5 / 1.25)
    assert timing.ideal.median == pytest.approx(0.5 / (0.5 + 2 * 52 / 160))


def test_requests_per_second_have_an_ideal_of_their_own(results: Results) -> None:
    load = results.throughput(4, QUARTER)
    assert load is not None
    assert load.ideal is not None
    assert load.gain.median == pytest.approx(2.0 / 1.6)
    # Of the 2 s that a request takes, the language model takes 1.5 s for 80 tokens, in the middle; 0.4 of it for 32.
    assert load.ideal.median == pytest.approx(2.0 / (2.0 - 0.6 * 1.5))


def test_the_parts_add_up_to_the_steps_of_a_first_token(results: Results) -> None:
    parts = results.parts(QUARTER)
    assert parts.encoder + parts.selection + parts.language_model == pytest.approx(1.5 * 1.6)


def test_kv_is_what_is_retained_and_the_text(results: Results) -> None:
    assert (results.visual_tokens, results.text_tokens, results.retained(QUARTER)) == (144, 16, 36)
    assert results.kv_is_exact(QUARTER)
    wasteful = Record(NEW, QUARTER.name, 2, replace(done(1.0, 52), kv_blocks=3))
    assert not Results([*records(), wasteful], [REFERENCE, QUARTER], SIZE).kv_is_exact(QUARTER)


def test_report_and_plots_show_every_arm(results: Results, tmp_path: Path) -> None:
    text = report({TINY: results}, ["On paper."], {"cut": ["encoder_cut"]})
    computed = f"| {REFERENCE.name} | 160, 160 |"
    for row in (REFERENCE.name, QUARTER.name, computed, "Not run: cut, for want of encoder_cut."):
        assert row in text
    assert {file.name for file in write_plots({TINY: results}, tmp_path)} == {"bench-first-token.png", "bench-load.png"}


def test_records_and_tasks_come_back_as_they_were(tmp_path: Path) -> None:
    save(records(), tmp_path / "records.jsonl")
    assert load(tmp_path / "records.jsonl") == records()
    task = Task((Question(((1, 336), (2, 28)), "what", "then", lead=3),), users=3, fields={"keep_ratio": 0.5})
    assert Task.from_json(task.to_json()) == task


def test_rounds_move_a_prompt_through_a_whole_block() -> None:
    assert [lead(number, 4) for number in (-1, 0, 1, 2, 3)] == [0, 0, 8, 16, 24]
    assert [lead(number, 3) for number in range(3)] == [0, 10, 21]


def test_text_stands_for_the_prompt_of_each_arm() -> None:
    assert text_lengths([REFERENCE, QUARTER], visual=144, text=16) == [160, 52]


def test_an_arm_of_another_version_is_left_out_but_not_for_a_switch_that_is_off() -> None:
    future = Arm("future", Engine("future", settings={"no_such_switch": "1"}), {"no_such_field": 1})
    off = Arm("off", Engine("off", settings={"rows_cache_mib": "0"}))
    assert missing(future) == ["no_such_switch", "no_such_field"]
    assert runnable([REFERENCE, future, off]) == [REFERENCE, off]


def test_names_tell_arms_and_engines_apart() -> None:
    assert len({arm.name for arm in ARMS}) == len(ARMS)
    engines = [arm.engine for arm in ARMS]
    assert all(one == other for one in engines for other in engines if one.name == other.name)
