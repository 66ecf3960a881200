"""Numbered sessions: which conversation, which pictures and which keep ratio. Session 17 is the same in every run.

Numbers are handed out in the order sessions start, so the work does not depend on how fast the server is.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from .conversations import SCENARIOS, Conversation, Messages
from .images import pick
from .mix import Mix

SEVERAL: Final = "several-images"
VIDEO: Final = "video"
REPLAY: Final = "replay"


@dataclass(frozen=True, slots=True)
class Session:
    """One user's business, from the first request to the last."""

    number: int
    scenario: str
    keep_ratio: float | None
    conversation: Conversation
    fields: Mapping[str, Any] = field(default_factory=dict)

    def body(self, model: str, messages: Messages) -> dict[str, Any]:
        """A request's body: streamed, with usage, greedy unless the fields say otherwise."""
        body: dict[str, Any] = {
            "model": model,
            "messages": messages,
            "stream": True,
            "stream_options": {"include_usage": True},
            "temperature": 0,
            **self.fields,
        }
        return body if self.keep_ratio is None else {**body, "keep_ratio": self.keep_ratio}


class Workload(Protocol):
    """Where sessions come from. `size` is how many there are, None for any number."""

    @property
    def size(self) -> int | None: ...

    def session(self, number: int) -> Session: ...


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long answers are: users who get answers of one length fall into step with each other.

    middle: tokens. vary: share by which an answer is shorter or longer, drawn evenly. seed: draws this alone, so that
    two servers get the same lengths with pictures of their own.
    """

    middle: int
    vary: float
    seed: int

    def draw(self, number: int) -> int:
        """Tokens of the answers of a session."""
        if not self.vary:
            return self.middle
        dice = random.Random(f"length {self.seed} {number}")  # noqa: S311 (no secret)
        return max(1, round(self.middle * dice.uniform(1 - self.vary, 1 + self.vary)))


@dataclass(frozen=True, slots=True)
class Made:
    """Sessions drawn from a mix.

    scenarios: names of SCENARIOS.
    pictures, videos: data URLs; may be empty when no scenario shows one.
    images, length: per request of `several-images`; requests per conversation.
    fields: of every body; they win over the drawn max_tokens.
    """

    seed: int
    scenarios: Mix[str]
    ratios: Mix[float | None]
    pictures: tuple[str, ...]
    images: int
    length: int
    fields: Mapping[str, Any]
    lengths: Lengths
    videos: tuple[str, ...] = ()

    @property
    def size(self) -> int | None:
        return None

    def session(self, number: int) -> Session:
        dice = random.Random(f"session {self.seed} {number}")  # noqa: S311 (no secret)
        scenario = self.scenarios.draw(dice)
        ratio = self.ratios.draw(dice)
        pool = self.videos if scenario == VIDEO else self.pictures
        shown = pick(pool, number, self.images if scenario == SEVERAL else 1) if pool else []
        conversation = SCENARIOS[scenario](dice, shown, self.length)
        fields = {"max_tokens": self.lengths.draw(number), **self.fields}
        return Session(number, scenario, ratio, conversation, fields)


@dataclass(frozen=True, slots=True)
class Replayed:
    """Requests from a file, one a line: an object with `messages` and any other field of a chat completion."""

    requests: tuple[Mapping[str, Any], ...]
    ratios: Mix[float | None]
    seed: int
    fields: Mapping[str, Any]

    @property
    def size(self) -> int | None:
        return len(self.requests)

    def session(self, number: int) -> Session:
        request = dict(self.requests[number])
        messages = request.pop("messages")
        dice = random.Random(f"replay {self.seed} {number}")  # noqa: S311 (no secret)
        return Session(number, REPLAY, self.ratios.draw(dice), _once(messages), {**self.fields, **request})


def read_requests(path: Path) -> tuple[Mapping[str, Any], ...]:
    """The lines of a replay file.

    Raises:
        ValueError: a line without messages, or no line.
    """
    requests = tuple(json.loads(line) for line in path.read_text().splitlines() if line.strip())
    if not requests or not all(isinstance(request, dict) and "messages" in request for request in requests):
        raise ValueError(f"{path} must hold one JSON object with `messages` on each line")
    return requests


def _once(messages: Messages) -> Conversation:
    yield messages
