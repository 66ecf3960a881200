"""Who is asked what, and in which order.

Arms take turns within each measure of a round, and every other round goes through them backwards, so that a machine
that drifts slows all alike. What was measured is one record per arm, measure and round.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Final

from sppruner_vllm.planning.plan import retained_tokens

from .arms import Arm
from .engine import BLOCK
from .process import EngineProcess
from .protocol import Done, Question, Task

FIRST: Final = "What is in this picture?"
LATER: Final = ("Where is the red shape?", "How many shapes are there?")

NEW: Final = "new picture"
TURN: Final = "second turn"
SECOND: Final = "second question"
THIRD: Final = "third question"
SEVERAL: Final = "four pictures"
LOAD: Final = "{} users"
CROWD: Final = "a crowd"
TEXT: Final = "text of {}"

_ASKED: Final = 5
"""Measures of one user in a round."""

CELL: Final = 28
"""Pixels along a side of a visual token."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much a run measures.

    rounds: counted ones of single requests. load_rounds: of many users. side: pixels of the usual picture.
    small: pixels of the pictures of several in a request and under load. users: how many at once, and how many
    requests. tokens: of an answer under load. crowd: requests at once for a KV cache that cannot hold them all.
    """

    rounds: int
    load_rounds: int
    side: int
    small: int
    users: Mapping[int, int]
    tokens: int = 16
    crowd: int = 0


@dataclass(frozen=True, slots=True)
class Record:
    """One measurement. round: from 0; round -1 warms up and does not count."""

    measure: str
    arm: str
    round: int
    done: Done

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Record:
        given = json.loads(line)
        return cls(**{**given, "done": Done.from_json(json.dumps(given["done"]))})


def measure(
    arms: Sequence[Arm],
    engines: Mapping[str, EngineProcess],
    size: Size,
    advance: Callable[[str], None],
    seeds: Iterator[int] | None = None,
) -> Iterator[Record]:
    """All records of a model, in the order they were measured.

    Args:
        arms: the first is what others are compared with.
        engines: by name, ready.
        size: how much.
        advance: called with a word on what comes next, `steps` times.
        seeds: of pictures; none is used twice.
    """
    seeds = count(1) if seeds is None else seeds
    for number in range(-1, size.rounds):
        chats = _chats(arms, size, seeds, lead(number, size.rounds))
        for name in chats if number >= 0 else (NEW,):
            for arm in _in_turn(arms, number):
                advance(f"{arm.name}, {name}")
                task = Task((chats[name][arm.name],), fields=dict(arm.fields))
                yield Record(name, arm.name, number, engines[arm.engine.name].do(task))
        if number >= 0:
            advance("text alone")
            yield from _texts(arms, engines[arms[0].engine.name], size, number, seeds)
    for arm in arms if size.crowd else ():
        advance(f"{arm.name}, {size.crowd} users")
        yield Record(CROWD, arm.name, 0, engines[arm.engine.name].do(_load(arm, size, size.crowd, size.crowd, seeds)))
    for number in range(size.load_rounds):
        for users, requests in size.users.items():
            for arm in _in_turn([arm for arm in arms if arm.under_load], number):
                advance(f"{arm.name}, {users} users")
                task = _load(arm, size, users, requests, seeds)
                yield Record(LOAD.format(users), arm.name, number, engines[arm.engine.name].do(task))


def steps(arms: Sequence[Arm], size: Size) -> int:
    """How often `measure` says what comes next."""
    loaded = size.load_rounds * len(size.users) * sum(arm.under_load for arm in arms)
    return len(arms) * (1 + _ASKED * size.rounds + (size.crowd > 0)) + size.rounds + loaded


def text_lengths(arms: Sequence[Arm], visual: int, text: int) -> list[int]:
    """Lengths of the prompts of text alone that say what a language model takes for the prompt of each arm.

    Args:
        visual: visual tokens of the picture. text: all other tokens of the prompt.
    """
    return sorted({retained_tokens(visual, arm.keep_ratio) + text for arm in arms}, reverse=True)


def lead(number: int, rounds: int) -> int:
    """Words before the pictures of a round, by which its prompts lie otherwise in the blocks of the KV cache.

    A later question computes what lies behind the last full block of what is cached. Over the rounds that block ends
    everywhere, for stock and for reduced prompts alike; at one length alone chance would decide.
    """
    return max(0, number) * BLOCK // rounds


def _in_turn(arms: Sequence[Arm], number: int) -> list[Arm]:
    return list(arms) if number % 2 == 0 else list(arms)[::-1]


def _load(arm: Arm, size: Size, users: int, requests: int, seeds: Iterator[int]) -> Task:
    questions = tuple(Question(((next(seeds), size.small),), FIRST) for _ in range(requests))
    return Task(questions, users=users, tokens=size.tokens, fields=dict(arm.fields))


def _chats(arms: Sequence[Arm], size: Size, seeds: Iterator[int], lead: int) -> dict[str, dict[str, Question]]:
    """By measure and arm: a question about a new picture, the chat's second turn, two later questions about the picture
    in chats of their own, and a question about several pictures.

    Args:
        lead: words before the picture of all but the last.
    """
    pictures = {arm.name: ((next(seeds), size.side),) for arm in arms}
    several = {arm.name: tuple((next(seeds), size.small) for _ in range(4)) for arm in arms}
    return {
        NEW: {name: Question(picture, FIRST, lead=lead) for name, picture in pictures.items()},
        TURN: {name: Question(picture, FIRST, LATER[0], lead) for name, picture in pictures.items()},
        SECOND: {name: Question(picture, LATER[0], lead=lead) for name, picture in pictures.items()},
        THIRD: {name: Question(picture, LATER[1], lead=lead) for name, picture in pictures.items()},
        SEVERAL: {name: Question(four, FIRST) for name, four in several.items()},
    }


def _texts(
    arms: Sequence[Arm], engine: EngineProcess, size: Size, number: int, seeds: Iterator[int]
) -> Iterator[Record]:
    """The language model alone, of stock vLLM, at the lengths of all prompts."""
    pictures = Task((Question(((next(seeds), size.side),), FIRST),), tokens=1)
    text = engine.do(pictures).replies[0].prompt - (size.side // CELL) ** 2
    for side in (size.side, size.small):
        for length in text_lengths(arms, (side // CELL) ** 2, text):
            yield Record(
                TEXT.format(length), arms[0].name, number, engine.do(Task(text_tokens=length, seed=next(seeds)))
            )


def save(records: Sequence[Record], file: Path) -> None:
    file.write_text("".join(record.to_json() + "\n" for record in records))


def load(file: Path) -> list[Record]:
    return [Record.from_json(line) for line in file.read_text().splitlines()]
