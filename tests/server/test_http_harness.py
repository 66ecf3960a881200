"""What test harnesses ask our server with: fields in every request, answers kept, refusals told apart."""

from __future__ import annotations

import pytest

from serving import chat_body, data_url, metric, png
from sppruner_vllm.evaluation.harness.client import Asking, HarnessClient, HarnessFailed

OPTIONS = {"max_tokens": 4, "temperature": 0}


def asking(label: str, url: str, **options: object) -> Asking:
    return Asking(label, lambda: chat_body(url)["messages"], {**OPTIONS, **options})


def test_answers_come_in_order_and_are_asked_for_once(server, client, tmp_path):
    pictures = [data_url(png(168, 168, seed=seed)) for seed in range(3)]
    wanted = [asking(f"t:{place}", url) for place, url in enumerate(pictures)]
    first = HarnessClient(server.url, None, {"keep_ratio": 0.5}, answers=tmp_path / "a.jsonl", run="one")
    answers = first.ask(wanted[:2])
    assert [(one.label, one.original, one.retained, one.width) for one in answers] == [
        ("t:0", 36, 18, 168),
        ("t:1", 36, 18, 168),
    ]
    before = metric(client, "sppruner_requests_total")
    again = HarnessClient(server.url, None, {"keep_ratio": 0.5}, answers=tmp_path / "a.jsonl", run="one")
    assert again.ask(wanted)[:2] == answers
    assert metric(client, "sppruner_requests_total") == before + 1
    other = HarnessClient(server.url, None, {"keep_ratio": 0.25}, answers=tmp_path / "a.jsonl", run="one")
    assert other.answer(wanted[0]).retained == 9


def test_a_picture_that_is_refused_is_an_answer_with_a_code(server, tmp_path):
    harness = HarnessClient(server.url, None, {}, answers=tmp_path / "a.jsonl")
    answer = harness.answer(asking("t:0", data_url(b"no picture")))
    assert (answer.text, answer.refused) == ("", "invalid_image")


def test_a_field_that_is_refused_ends_the_run(server):
    harness = HarnessClient(server.url, None, {"reduction_method": "uniform", "keep_ratio": 0.5})
    with pytest.raises(HarnessFailed, match="--allow-reduction-method"):
        harness.ask([asking("t:0", data_url(png(168, 168)))])


def test_no_server_is_said_in_a_line():
    with pytest.raises(HarnessFailed, match="no model is served"):
        HarnessClient("http://127.0.0.1:9", None, {})


def test_a_field_that_no_request_has_is_refused_before_anything_is_sent(server):
    with pytest.raises(ValueError, match="keep_ration"):
        HarnessClient(server.url, None, {"keep_ration": 0.5})
