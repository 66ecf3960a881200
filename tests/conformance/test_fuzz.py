"""A short form of `make fuzz`, on the server that all tests share; and that its judge sees what is wrong."""

from __future__ import annotations

import json

import httpx
import pytest
from fuzzing.bodies import Good, good
from fuzzing.cases import Case, make_case
from fuzzing.fields import known_fields
from fuzzing.matrix import every_case
from fuzzing.run import Fuzzer, check_answer
from fuzzing.whole import whole
from tried import MODEL, Endpoint

CASES = 420
ONE_IN = 97
"""Of the matrix, so that over its rows every value comes at every field of some body."""
SEED = 7
LONGEST = 16
"""Tokens of an answer: the server that all share would otherwise fill its context where a body lost its limit."""


@pytest.fixture(scope="module")
def requests() -> list[Good]:
    return good(MODEL)


def test_every_good_request_is_served(endpoint: Endpoint, requests):
    with httpx.Client(base_url=endpoint.url, headers=endpoint.headers, timeout=120) as client:
        for request in [*requests, *whole(MODEL)]:
            answer = client.post(request.path, json=request.body)
            assert answer.status_code == 200, (request.path, answer.text)


def test_no_spoilt_request_is_a_fault_of_the_server(endpoint: Endpoint, requests):
    fields = known_fields()
    cases = [make_case(SEED, number, requests, fields, longest=LONGEST) for number in range(CASES)]
    findings = Fuzzer(endpoint.url, requests, endpoint.headers, threads=2).run(cases)
    assert findings.statuses.total() == CASES
    assert findings.statuses[200] > CASES // 10, "spoilt beyond use: nothing reached the engine"
    assert findings.faults == [], "\n".join(f"{fault.kind}: {fault.told}" for fault in findings.faults)


def test_a_bad_value_is_refused_by_the_name_of_its_field(endpoint: Endpoint, requests):
    cases = list(every_case(whole(MODEL), LONGEST, every=ONE_IN))
    findings = Fuzzer(endpoint.url, requests, endpoint.headers, threads=2).run(cases)
    assert findings.statuses.total() == len(cases) > CASES
    assert findings.faults == [], "\n".join(f"{fault.kind}: {fault.told}" for fault in findings.faults)


def test_the_same_number_is_the_same_request(requests):
    once, again, other = (make_case(seed, 5, requests, {}) for seed in (1, 1, 2))
    assert once == again
    assert once.content != other.content


CHAT = Case(3, "/v1/chat/completions", b"{}", {})
SEED_OF_CHAT = Case(3, "/v1/chat/completions", b"{}", {}, "seed", fits=False)
MESSAGES = Case(3, "/v1/messages", b"{}", {})
READABLE = {"error": {"message": "no", "type": "invalid_request_error", "param": None, "code": "invalid_value"}}
JSON = {"content-type": "application/json"}
EVENTS = {"content-type": "text/event-stream"}


@pytest.mark.parametrize(
    ("case", "status", "headers", "body", "kinds"),
    [
        (CHAT, 200, JSON, "{}", []),
        (CHAT, 400, JSON, json.dumps(READABLE), []),
        (CHAT, 500, JSON, json.dumps(READABLE), ["500 no"]),
        (CHAT, 503, JSON, "busy", ["503 b'busy'"]),
        (CHAT, 400, JSON, '{"detail": "no"}', ["a 400 nobody can read (no JSON object with an error)"]),
        (CHAT, 400, JSON, '{"error": "no"}', ["a 400 nobody can read (the error is no object)"]),
        (CHAT, 404, JSON, '{"error": {"message": "no"}}', ["a 404 nobody can read (no param)"]),
        (SEED_OF_CHAT, 200, JSON, "{}", ["a value for seed that does not fit, and is taken"]),
        (SEED_OF_CHAT, 400, JSON, json.dumps(READABLE), ["a refusal that does not name seed"]),
        (MESSAGES, 400, JSON, json.dumps(READABLE), ["a 400 nobody can read (not Anthropic's shape)"]),
        (CHAT, 200, EVENTS, 'data: {"id": "x"}\n\ndata: [DONE]\n\n', []),
        (CHAT, 200, EVENTS, "data: {\n\ndata: [DONE]\n\n", ["a stream with an event that is no JSON"]),
        (CHAT, 200, EVENTS, 'data: {"id": "x"}\n\n', ["a stream without an end"]),
        (CHAT, 200, EVENTS, "", ["a stream without an event"]),
        (
            *(CHAT, 200, EVENTS, f"data: {json.dumps(READABLE)}\n\ndata: [DONE]\n\n"),
            ["a stream that failed after its 200: no"],
        ),
    ],
)
def test_the_judge_sees_what_is_wrong(case, status, headers, body, kinds):
    faults = check_answer(case, status, httpx.Headers(headers), body.encode())
    assert [fault.kind for fault in faults] == [f"{kind} at {case.path}" for kind in kinds]
