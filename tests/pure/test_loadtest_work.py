"""What a run sends and when: seeds, mixes, conversations, shapes and arrivals."""

from __future__ import annotations

import argparse
import ast
import base64
import io
import json
import random
import statistics
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
from PIL import Image

import loadtest
from loadtest import sweep
from loadtest.arrivals import poisson_times, run_open_loop
from loadtest.cells import grid
from loadtest.conversations import QUESTIONS, SCENARIOS
from loadtest.images import folder_pool, pick, synthetic_image, synthetic_pool, synthetic_video
from loadtest.mix import Mix, parse_mix, read_ratio, show_ratio
from loadtest.options import BadOption, add_arguments, make_job
from loadtest.shapes import SHAPES, users_at
from loadtest.workload import Made, Replayed, read_requests


def plan(*words: str):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    for name in ("--num-users", "--run-time"):  # Locust's own
        parser.add_argument(name, type=int)
    return make_job(parser.parse_args(["--image-size", "32x32", "--image-pool", "4", *words]))


def bodies(workload, number: int) -> list[dict]:
    """The requests of a session, with answers made up."""
    session = workload.session(number)
    messages = next(session.conversation)
    found = []
    while True:
        found.append(session.body("m", messages))
        try:
            messages = session.conversation.send(f"answer {len(found)}")
        except StopIteration:
            return found


def images_of(body: dict) -> list[str]:
    parts = [
        part for message in body["messages"] if isinstance(message["content"], list) for part in message["content"]
    ]
    return [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]


def test_the_package_imports_nothing_of_the_product():
    for file in Path(loadtest.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(
                name.partition(".")[0] in ("sppruner_vllm", "sppruner_server", "server") for name in names
            ), file


def test_a_synthetic_picture_is_the_same_for_a_seed_and_another_for_another():
    assert synthetic_image(60, 40, 3) == synthetic_image(60, 40, 3)
    assert synthetic_image(60, 40, 3) != synthetic_image(60, 40, 4)
    assert Image.open(io.BytesIO(synthetic_image(60, 40, 3))).size == (60, 40)


def test_a_synthetic_video_moves_every_four_pictures_and_is_the_same_for_a_seed():
    url = synthetic_video(60, 40, 8, 3)
    assert url == synthetic_video(60, 40, 8, 3) != synthetic_video(60, 40, 8, 4)
    kind, _, sent = url.partition(";base64,")
    pictures = sent.split(",")
    assert (kind, len(pictures)) == ("data:video/jpeg", 8)
    assert Image.open(io.BytesIO(base64.b64decode(pictures[0]))).size == (60, 40)
    assert pictures[:4] == pictures[:1] * 4
    assert pictures[4] != pictures[0]


def test_a_session_of_videos_shows_one_and_no_picture():
    (body,) = bodies(plan("--scenarios", "video", "--video-pictures", "2").workload, 0)
    assert images_of(body) == []
    ((part, _),) = [message["content"] for message in body["messages"]]
    assert part["type"] == "video_url"
    assert part["video_url"]["url"].count(",") == 2


def test_a_pool_holds_different_pictures_and_sessions_walk_through_it():
    pool = synthetic_pool(6, 32, 32, seed=1)
    assert len(set(pool)) == 6
    assert not set(pool) & set(synthetic_pool(6, 32, 32, seed=2))
    assert [*pick(pool, 0, 3), *pick(pool, 1, 3)] == list(pool)
    assert pick(pool, 2, 3) == pick(pool, 0, 3)


def test_a_folder_is_sent_as_it_is_in_the_order_of_names(tmp_path):
    for name, content in (("b.png", b"second"), ("a.jpg", b"first"), ("notes.txt", b"no picture")):
        (tmp_path / name).write_bytes(content)
    pool = folder_pool(tmp_path)
    assert [url.partition(",")[0] for url in pool] == ["data:image/jpeg;base64", "data:image/png;base64"]
    assert [base64.b64decode(url.partition(",")[2]) for url in pool] == [b"first", b"second"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no picture"):
        folder_pool(tmp_path / "empty")


def test_a_mix_draws_by_weight():
    mix = parse_mix("1:1, 0.5 ,0.222:2,default", read_ratio)
    assert mix == Mix((1.0, 0.5, 0.222, None), (1.0, 1.0, 2.0, 1.0))
    dice = random.Random(0)
    counts = Counter(mix.draw(dice) for _ in range(10_000))
    assert counts.keys() == set(mix.values)
    assert counts[0.222] / counts[1.0] == pytest.approx(2, rel=0.1)
    assert [show_ratio(ratio) for ratio in mix.values] == ["1", "0.5", "0.222", "default"]


@pytest.mark.parametrize("text", ["", "0", "1.5", "nan", "1:0", "1:-1", "1:inf", "1,1:2", "half"])
def test_a_wrong_mix_is_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011 (float() has its own words)
        parse_mix(text, read_ratio)


def test_no_cell_of_a_sweep_sends_what_another_cell_sent():
    options = sweep._parse([])
    cells = list(grid((None, 1.0, 0.9, 0.222, 0.2221, 0.05), (1, 2, 16)))
    seeds = [sweep._cell_load(options, cell)["seed"] for cell in cells]
    assert len(set(seeds)) == len(cells)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_session_is_the_same_in_every_run_and_another_for_another_number_or_seed(scenario):
    words = ("--scenarios", scenario, "--keep-ratios", "1,0.5,0.25")
    first, again, other = (plan(*words, "--seed", seed).workload for seed in ("1", "1", "2"))
    runs = [[bodies(workload, number) for number in range(8)] for workload in (first, again, other)]
    assert runs[0] == runs[1] != runs[2]
    assert any(session != runs[0][0] for session in runs[0][1:])


def test_a_turn_repeats_the_picture_and_all_that_was_said():
    turns = bodies(plan("--scenarios", "multi-turn", "--length", "3").workload, 0)
    assert [len(body["messages"]) for body in turns] == [1, 3, 5]
    assert turns[2]["messages"][:3] == turns[1]["messages"]
    assert turns[2]["messages"][3] == {"role": "assistant", "content": "answer 2"}
    assert {tuple(images_of(body)) for body in turns} == {tuple(images_of(turns[0]))}
    assert len(images_of(turns[0])) == 1


def test_many_questions_share_a_picture_and_nothing_else():
    asked = bodies(plan("--scenarios", "many-questions", "--length", str(len(QUESTIONS) + 1)).workload, 0)
    assert len({tuple(images_of(body)) for body in asked}) == 1
    questions = [body["messages"][0]["content"][-1]["text"] for body in asked]
    assert set(questions[:-1]) == set(QUESTIONS)
    assert all(len(body["messages"]) == 1 for body in asked)


def test_several_images_and_none():
    assert len(set(images_of(bodies(plan("--scenarios", "several-images", "--images", "3").workload, 0)[0]))) == 3
    text = plan("--scenarios", "text").workload
    assert isinstance(text, Made)
    assert text.pictures == ()
    assert images_of(bodies(text, 0)[0]) == []


def test_answers_vary_in_length_as_the_arrivals_seed_says():
    words = ("--max-tokens", "32", "--vary-tokens", "0.75", "--arrival-seed", "9")
    one, other = (plan(*words, "--seed", seed).workload for seed in ("1", "2"))
    lengths = [bodies(one, number)[0]["max_tokens"] for number in range(200)]
    assert lengths == [bodies(other, number)[0]["max_tokens"] for number in range(200)]
    assert (min(lengths), max(lengths)) == pytest.approx((8, 56), abs=1)
    assert sum(lengths) / 200 == pytest.approx(32, abs=3)
    assert bodies(plan("--vary-tokens", "0.5", "--extra-body", '{"max_tokens": 3}').workload, 0)[0]["max_tokens"] == 3


def test_a_ratio_is_sent_only_when_it_is_asked_for():
    assert "keep_ratio" not in bodies(plan().workload, 0)[0]
    assert bodies(plan("--keep-ratios", "0.5").workload, 0)[0]["keep_ratio"] == 0.5


def test_fields_reach_every_request():
    body = bodies(
        plan("--max-tokens", "7", "--ignore-eos", "--extra-body", '{"temperature": 0.5, "seed": 3}').workload, 0
    )[0]
    fields = {name: body[name] for name in ("max_tokens", "ignore_eos", "temperature", "seed", "stream")}
    assert fields == {"max_tokens": 7, "ignore_eos": True, "temperature": 0.5, "seed": 3, "stream": True}


def test_a_replay_sends_each_line_once_with_its_own_fields(tmp_path):
    lines = [{"messages": [{"role": "user", "content": str(number)}], "max_tokens": 40 + number} for number in range(3)]
    file = tmp_path / "requests.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)))
    made = plan("--replay", str(file), "--keep-ratios", "0.5")
    assert isinstance(made.workload, Replayed)
    assert made.sessions == 3
    sent = [bodies(made.workload, number)[0] for number in range(3)]
    assert [(body["messages"], body["max_tokens"], body["keep_ratio"]) for body in sent] == [
        (line["messages"], line["max_tokens"], 0.5) for line in lines
    ]
    file.write_text('{"prompt": "no messages"}')
    with pytest.raises(ValueError, match="messages"):
        read_requests(file)


@pytest.mark.parametrize(
    "words",
    [
        ("--keep-ratios", "2"),
        ("--scenarios", "film"),
        ("--image-size", "big"),
        ("--images", "0"),
        ("--rate", "-1"),
        ("--slo", "ttft:fast"),
        ("--slo", "ttft:5", "--slo-share", "0"),
        ("--extra-body", "[1]"),
        ("--extra-body", "{"),
        ("--replay", "/nowhere.jsonl"),
        ("--load-shape", "spike", "--sessions", "5"),
        ("--think-time", "-1"),
    ],
)
def test_a_wrong_option_is_refused(words):
    with pytest.raises(BadOption):
        plan(*words)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("users", [1, 3, 40])
def test_a_shape_has_at_least_one_user_never_more_than_asked_for_and_ends(shape, users):
    stages = SHAPES[shape](users, 100.0)
    counts = [users_at(stages, second / 10) for second in range(1000)]
    assert min(counts) >= 1
    assert max(counts) == users
    assert users_at(stages, 100.0) is None


def test_the_shapes_are_what_their_names_say():
    course = {name: [users_at(shape(40, 100.0), second) for second in range(100)] for name, shape in SHAPES.items()}
    assert set(course["steady"]) == {40}
    assert course["step"] == sorted(course["step"])
    assert Counter(course["step"]) == {10: 25, 20: 25, 30: 25, 40: 25}
    assert (course["spike"][0], course["spike"][50], course["spike"][99]) == (10, 40, 10)
    assert Counter(course["soak"])[40] >= 90


def test_poisson_arrivals_have_the_rate_the_spread_and_the_seed_asked_for():
    times = list(poisson_times(5.0, seed=1, seconds=None, count=20_000))
    gaps = [later - earlier for earlier, later in zip([0.0, *times], times, strict=False)]
    assert statistics.mean(gaps) == pytest.approx(0.2, rel=0.05)
    assert statistics.stdev(gaps) == pytest.approx(0.2, rel=0.05)  # of an exponential: as large as the mean
    assert times[:50] == list(islice(poisson_times(5.0, 1, None, None), 50)) != list(poisson_times(5.0, 2, None, 50))
    assert max(poisson_times(5.0, 1, seconds=10.0, count=None)) < 10.0


class Clock:
    """Time that passes only while someone sleeps, or when a start takes it."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


def test_the_open_loop_starts_on_time_and_waits_for_nobody():
    clock, started = Clock(), []
    pace = run_open_loop([0.5, 0.6, 2.0], lambda late: started.append((clock.time, late)), clock.now, clock.sleep)
    assert started == [(pytest.approx(at), pytest.approx(0, abs=1e-9)) for at in (0.5, 0.6, 2.0)]
    assert (pace.arrivals, pace.late, pace.kept) == (3, 0, True)


def test_a_generator_that_cannot_keep_up_says_so():
    clock, lags = Clock(), []

    def slow_start(late: float) -> None:
        lags.append(late)
        clock.sleep(0.3)

    pace = run_open_loop([0.1, 0.2, 0.3], slow_start, clock.now, clock.sleep)
    assert lags == [pytest.approx(lag, abs=1e-9) for lag in (0.0, 0.2, 0.4)]
    assert (pace.late, pace.worst_s, pace.kept) == (2, pytest.approx(0.4), False)


def test_an_open_loop_that_is_told_to_end_starts_no_more():
    clock, started = Clock(), []
    run_open_loop([1.0, 2.0, 3.0], started.append, clock.now, clock.sleep, running=lambda: clock.time < 2.5)
    assert len(started) == 2
