"""Who is asked what, and in which order.

Arms take turns within a round, and every other round goes through them backwards, so that a machine that drifts slows
all alike. What was measured is one record per arm, measure and round.
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
TEXT: Final = "text of {}"

CELL: Final = 28
"""Pixels along a side of a visual token."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much a run measures.

    rounds: counted ones of single requests. load_rounds: of many users. side: pixels of the usual picture.
    small: pixels of the pictures of several in a request and under load. users: how many at once, and how many
    requests. tokens: of an answer under load.
    """

    rounds: int
    load_rounds: int
    side: int
    small: int
    users: Mapping[int, int]
    tokens: int = 16


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
        for arm in _in_turn(arms, number):
            advance(f"{arm.name}, one user")
            yield from _one_user(arm, engines[arm.engine.name], size, number, seeds)
        advance("text alone")
        yield from _texts(arms, engines[arms[0].engine.name], size, number, seeds)
    for number in range(size.load_rounds):
        for users, requests in size.users.items():
            for arm in _in_turn([arm for arm in arms if arm.under_load], number):
                advance(f"{arm.name}, {users} users")
                questions = tuple(Question(((next(seeds), size.small),), FIRST) for _ in range(requests))
                task = Task(questions, users=users, tokens=size.tokens, fields=dict(arm.fields))
                yield Record(LOAD.format(users), arm.name, number, engines[arm.engine.name].do(task))


def steps(arms: Sequence[Arm], size: Size) -> int:
    """How often `measure` says what comes next."""
    loaded = sum(arm.under_load for arm in arms)
    return (size.rounds + 1) * (len(arms) + 1) + size.load_rounds * len(size.users) * loaded


def text_lengths(arms: Sequence[Arm], visual: int, text: int) -> list[int]:
    """Lengths of the prompts of text alone that say what a language model takes for the prompt of each arm.

    Args:
        visual: visual tokens of the picture. text: all other tokens of the prompt.
    """
    return sorted({retained_tokens(visual, arm.keep_ratio) + text for arm in arms}, reverse=True)


def _in_turn(arms: Sequence[Arm], number: int) -> list[Arm]:
    return list(arms) if number % 2 == 0 else list(arms)[::-1]


def _one_user(arm: Arm, engine: EngineProcess, size: Size, number: int, seeds: Iterator[int]) -> Iterator[Record]:
    """A chat about a new picture, two later ones about it, the first one's second turn; then several pictures."""
    fields, picture = dict(arm.fields), ((next(seeds), size.side),)

    def ask(measure: str, question: Question) -> Record:
        return Record(measure, arm.name, number, engine.do(Task((question,), fields=fields)))

    yield ask(NEW, Question(picture, FIRST))
    yield ask(TURN, Question(picture, FIRST, LATER[0]))
    for name, later in zip((SECOND, THIRD), LATER, strict=True):
        yield ask(name, Question(picture, later))
    yield ask(SEVERAL, Question(tuple((next(seeds), size.small) for _ in range(4)), FIRST))


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
