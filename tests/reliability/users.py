"""Users who ask one question after the other, half of them for a stream, and take note of what became of each."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from threading import Event

import httpx
from balancer import AFFINITY_HEADER

from serving import chat_body, data_url, png

USERS = 8
IMAGES = 16
ANSWER_TOKENS = 24
WHOLE = {"stop", "length"}
"""Reasons to finish of an answer that is complete; an engine that was stopped says `abort`."""

PADDING = bytes(1_500_000)
"""After the end of a PNG, where decoders ignore it: makes a body larger than what Envoy keeps by default."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a request.

    sent, done: seconds on the monotonic clock.
    began: whether headers of an answer came; from there on nobody can send the request again unseen.
    problem: None for a whole answer.
    """

    sent: float
    done: float
    streamed: bool
    began: bool
    problem: str | None


@dataclass(slots=True)
class Traffic:
    """The answers so far."""

    answers: list[Answer] = field(default_factory=list)
    over: Event = field(default_factory=Event)

    def sent_after(self, moment: float) -> list[Answer]:
        return [answer for answer in self.answers if answer.sent > moment]

    def failed(self) -> list[Answer]:
        return [answer for answer in self.answers if answer.problem is not None]


@cache
def picture(seed: int, padded: bool = False) -> tuple[str, str]:
    """An image of 144 visual tokens and the hash that keeps its requests together."""
    content = png(336, 336, seed=seed) + (PADDING if padded else b"")
    return data_url(content), hashlib.sha256(content).hexdigest()


@contextmanager
def load(url: str) -> Iterator[Traffic]:
    """Users at work for as long as the block lasts; at its end their last answers are waited for."""
    traffic = Traffic()
    with ThreadPoolExecutor(USERS) as threads:
        users = [threads.submit(_use, url, number, traffic) for number in range(USERS)]
        try:
            yield traffic
        finally:
            traffic.over.set()
    for user in users:
        user.result()  # a mistake in here is no failed request


def _use(url: str, user: int, traffic: Traffic) -> None:
    with httpx.Client(base_url=url, timeout=120) as client:
        for number in count():
            if traffic.over.is_set():
                return
            image, affinity = picture((user * 5 + number) % IMAGES, padded=user == 0)
            fields = {"stream": user % 2 == 1, "max_tokens": ANSWER_TOKENS, "ignore_eos": True, "keep_ratio": 0.5}
            body = chat_body(image, text=f"question {number} of {user}", **fields)
            traffic.answers.append(ask(client, body, affinity))


def ask(client: httpx.Client, body: dict[str, object], affinity: str) -> Answer:
    """Send a request and read its answer to the end, whatever comes."""
    sent, began, streamed = time.monotonic(), False, bool(body.get("stream"))
    try:
        headers = {AFFINITY_HEADER: affinity}
        with client.stream("POST", "/v1/chat/completions", json=body, headers=headers) as answer:
            began = True
            text = answer.read().decode()
        problem = _problem(answer.status_code, text, streamed)
    except httpx.TransportError as failure:
        problem = repr(failure)
    return Answer(sent, time.monotonic(), streamed, began, problem)


def _problem(status: int, text: str, streamed: bool) -> str | None:
    """What is wrong with an answer that was read to its end."""
    if status != 200:
        return f"{status}: {text[:200]}"
    if not streamed:
        reasons = {choice["finish_reason"] for choice in json.loads(text)["choices"]}
        return None if reasons <= WHOLE else f"finished with {reasons}"
    data = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    if not data or data[-1] != "[DONE]":
        return f"the stream ends with {text[-200:]!r}"
    chunks = [json.loads(line) for line in data[:-1]]
    reasons = {choice.get("finish_reason") for chunk in chunks for choice in chunk.get("choices", [])} - {None}
    if reasons and reasons <= WHOLE and not any("error" in chunk for chunk in chunks):
        return None
    return f"the stream finished with {reasons}: {data[-2][:200]}"
