"""What bench and engine process say to each other: JSON lines, a request and its answer at a time."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Question:
    """One chat of a user.

    pictures: seed and side in pixels of each square picture of noise. text: what is asked about them.
    then: what is asked next in the same chat, after an answer; empty asks once.
    lead: words before the pictures, beyond the usual ones; each is a token.
    """

    pictures: tuple[tuple[int, int], ...]
    text: str
    then: str = ""
    lead: int = 0


@dataclass(frozen=True, slots=True)
class Task:
    """Chats for one engine.

    users: how many are asked at any time; the next begins when one is answered. tokens: of each answer.
    fields: of ours, for every request. text_tokens: asks this many tokens of text instead, without a picture.
    """

    questions: tuple[Question, ...] = ()
    users: int = 1
    tokens: int = 2
    fields: dict[str, Any] = field(default_factory=dict)
    text_tokens: int = 0
    seed: int = 0

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Task:
        given = json.loads(line)
        chats = [
            Question(tuple((seed, side) for seed, side in chat["pictures"]), chat["text"], chat["then"], chat["lead"])
            for chat in given["questions"]
        ]
        return cls(**{**given, "questions": tuple(chats)})


@dataclass(frozen=True, slots=True)
class Reply:
    """One request's answer. ttft, latency: seconds from handing it in to the first and to the last token.

    prompt, cached: tokens of the prompt, and how many the prefix cache had.
    """

    ttft: float
    latency: float
    prompt: int
    cached: int
    answer: int


@dataclass(frozen=True, slots=True)
class Done:
    """A task's outcome.

    seconds: of all. processing: rendering, image processing, hashing and handing in. encoding: of the vision encoder.
    selection: of visual tokens. engine: all that happened inside engine steps; encoding and selection are part of it.
    first_steps: engine time until the first token of the first request.
    encoder_runs: forwards of the vision tower. steps: of the engine.
    kv_tokens, kv_blocks, running: most tokens computed, blocks in use and requests running after any step.
    """

    replies: list[Reply]
    seconds: float
    processing: float
    encoding: float
    selection: float
    engine: float
    first_steps: float
    encoder_runs: int
    steps: int
    kv_tokens: int
    kv_blocks: int
    running: int

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Done:
        given = json.loads(line)
        return cls(**{**given, "replies": [Reply(**reply) for reply in given["replies"]]})
