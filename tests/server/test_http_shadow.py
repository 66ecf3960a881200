"""Requests that are asked again with every visual token, on a server that does so with all of them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import httpx
import pytest

from clips import EACH, FRAMES, body_with, clip
from serving import WAIT_SECONDS, Server, chat_body, data_url, eventually, metric, png, serving, unread_stream
from sppruner_vllm.demo_model import CHECKPOINT

pytestmark = pytest.mark.skipif("SPPRUNER_TEST_SHADOW" not in os.environ, reason="starts a server: make test-shadow")

PER_HOUR = 24
CHAT = "/v1/chat/completions"
WORD = "zebrafinch"
"""Of a prompt; it must be nowhere but in the request."""

ANSWERS = "sppruner_shadow_answers_total"
GAPS = "sppruner_shadow_logprob_gap_nats_count"
GIVEN_UP = "sppruner_shadow_given_up_total"


@pytest.fixture(scope="module")
def shadowing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One request in flight beside the one that ends is enough to be busy."""
    log = tmp_path_factory.mktemp("shadow") / "server.log"
    flags = ("--shadow-share", "1", "--shadow-per-hour", str(PER_HOUR), "--shadow-max-in-flight", "0")
    with serving(CHECKPOINT, log, *flags, "--scheduling-policy", "priority") as server:
        yield server


@pytest.fixture(scope="module")
def asked(shadowing: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=shadowing.url, timeout=WAIT_SECONDS) as client:
        yield client


def picture(seed: int) -> str:
    return data_url(png(336, 336, seed=seed))


def settled(client: httpx.Client) -> float:
    return metric(client, ANSWERS) + metric(client, GIVEN_UP)


def ask(client: httpx.Client, body: dict[str, object]) -> httpx.Response:
    """Ask, and wait until the request has been asked again."""
    before = settled(client)
    answer = client.post(CHAT, json=body)
    assert answer.status_code == 200, answer.text
    assert eventually(lambda: settled(client) == before + 1)
    return answer


def told(client: httpx.Client) -> dict[str, float]:
    return {agreement: metric(client, ANSWERS, agreement=agreement) for agreement in ("same", "different", "sampled")}


def words(answer: httpx.Response) -> list[str]:
    return [choice["message"]["content"] for choice in answer.json()["choices"]]


@pytest.mark.parametrize(("seed", "ratio"), [(1, 0.5), (2, 0.1), (3, 0.05), (4, 0.06)])
def test_agreement_is_that_of_the_answer_to_the_whole_picture(asked, seed, ratio):
    body = chat_body(picture(seed), text=f"what colour is the {WORD}")
    whole = asked.post(CHAT, json=body)
    before, gaps = told(asked), metric(asked, GAPS, decoding="greedy")
    reduced = ask(asked, {**body, "keep_ratio": ratio})
    agreement = "same" if words(reduced) == words(whole) else "different"
    assert told(asked) == {**before, agreement: before[agreement] + 1}
    assert metric(asked, GAPS, decoding="greedy") == gaps + 1


def test_streams_and_several_choices_are_one_request_each(asked):
    before = told(asked)
    ask(asked, chat_body(picture(5), keep_ratio=0.2, stream=True))
    ask(asked, chat_body(picture(6), keep_ratio=0.2, n=3, temperature=0.5))
    after = told(asked)
    assert after["same"] + after["different"] == before["same"] + before["different"] + 1
    assert after["sampled"] == before["sampled"] + 1  # several choices are drawn


def test_a_sampled_answer_is_judged_by_its_log_probabilities_alone(asked):
    before, gaps = told(asked), metric(asked, GAPS, decoding="sampled")
    ask(asked, chat_body(picture(7), keep_ratio=0.2, temperature=1, seed=3))
    assert told(asked) == {**before, "sampled": before["sampled"] + 1}
    assert metric(asked, GAPS, decoding="sampled") == gaps + 1


def test_a_structured_answer_is_asked_under_the_same_grammar(asked):
    before = told(asked)
    one = {"structured_outputs": {"choice": ["red"]}}
    ask(asked, chat_body(picture(8), keep_ratio=0.1, **one))
    assert told(asked) == {**before, "same": before["same"] + 1}  # there is but one answer


@pytest.mark.parametrize("pictures", [(), (9,)], ids=["a video", "a picture and a video"])
def test_a_video_is_asked_again_with_every_token_of_it(asked, pictures):
    shown = [picture(seed) for seed in pictures]
    body = body_with(clip(50), *shown)
    whole = asked.post(CHAT, json=body)
    before = told(asked)
    names = [f"sppruner_visual_tokens_{stage}_total" for stage in ("original", "retained")]
    counted = [metric(asked, name, modality="video") for name in names]
    reduced = ask(asked, {**body, "keep_ratio": 0.2})
    agreement = "same" if words(reduced) == words(whole) else "different"
    assert told(asked) == {**before, agreement: before[agreement] + 1}
    grown = [metric(asked, name, modality="video") - was for name, was in zip(names, counted, strict=True)]
    assert grown == [FRAMES * EACH, FRAMES * EACH // 5], "what is asked again is no request of a client"


def test_nothing_else_is_asked_again(asked):
    before = settled(asked)
    assert asked.post(CHAT, json=chat_body()).status_code == 200
    assert asked.post(CHAT, json=chat_body(picture(9))).status_code == 200
    assert asked.post(CHAT, json=chat_body(picture(9), keep_ratio=7)).status_code == 400
    assert asked.post(CHAT, json=chat_body(data_url(b"no picture"), keep_ratio=0.5)).status_code == 400
    ask(asked, chat_body(picture(10), keep_ratio=0.2))
    assert settled(asked) == before + 1


def test_a_busy_server_gives_it_up(asked, shadowing):
    before, answers = metric(asked, GIVEN_UP, reason="busy"), told(asked)
    with unread_stream(shadowing):
        ask(asked, chat_body(picture(11), keep_ratio=0.2))
    assert metric(asked, GIVEN_UP, reason="busy") == before + 1
    assert told(asked) == answers


def test_no_more_are_asked_than_the_hour_allows(asked):
    for seed in range(PER_HOUR):
        ask(asked, chat_body(picture(100 + seed), keep_ratio=0.2, max_tokens=1))
    assert metric(asked, GIVEN_UP, reason="hourly_cap") > 0
    assert sum(told(asked).values()) + metric(asked, GIVEN_UP, reason="failed") <= PER_HOUR


def test_what_was_asked_is_written_nowhere(shadowing):
    assert WORD not in shadowing.log.read_text(errors="replace")
    assert "could not be asked again" not in shadowing.log.read_text(errors="replace")
