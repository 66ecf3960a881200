"""Questions about pictures: what the proof kit asks, and how it tells one question from another.

Where they come from is another module's business: a user's JSONL (jsonl.py) or the demo's world (demo_dataset.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from .scoring import EXACT, Metric

DEMO: Final = "demo"


class DatasetError(ValueError):
    """The questions cannot be used; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that is read when it is needed.

    name: for people. read: returns the bytes of an image file, the same on every call.
    """

    name: str
    read: Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class Question:
    """One question and its right answers.

    id: unique within the dataset. images: at least one, in the order they are sent. text: the question.
    answers: at least one, any of which is right. metric: how an answer is judged.
    family: kind of question, for the breakdown. group: questions of one group are resampled together, because they
        share a picture; None groups by the pictures themselves.
    """

    id: str
    images: tuple[Picture, ...]
    text: str
    answers: tuple[str, ...]
    metric: Metric = EXACT
    family: str = "all"
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """content: digest of everything that decides a question's score. group: its resampling group."""

    content: str
    group: str


def identify(question: Question) -> Identity:
    """Digest of a question and its pictures; reads them.

    Raises:
        DatasetError: a picture cannot be read.
    """
    pictures = hashlib.sha256()
    for picture in question.images:
        try:
            pictures.update(hashlib.sha256(picture.read()).digest())
        except (OSError, ValueError) as error:
            raise DatasetError(f"question {question.id}: cannot read {picture.name}: {error}") from error
    shown = pictures.hexdigest()[:16]
    asked = json.dumps([shown, question.text, question.answers, asdict(question.metric)])
    return Identity(hashlib.sha256(asked.encode()).hexdigest()[:16], question.group or shown)


def load_dataset(name: str, limit: int | None, seed: int) -> list[Question]:
    """The questions of `demo` or of a JSONL file, at most `limit`.

    Args:
        name: `demo`, or a file's path.
        limit: None takes all of a file, and the usual number of the demo's.
        seed: of the demo's scenes; without effect on a file.

    Raises:
        DatasetError: there is none, or an entry makes no sense.
    """
    if name == DEMO:
        from .demo_dataset import USUAL_COUNT, demo_questions

        questions = list(islice(demo_questions(limit or USUAL_COUNT, seed), limit))
    else:
        from .jsonl import read_jsonl

        questions = read_jsonl(Path(name))[:limit]
    _check(questions, name)
    return questions


def _check(questions: Sequence[Question], name: str) -> None:
    if not questions:
        raise DatasetError(f"{name} holds no questions")
    if twice := _repeated(question.id for question in questions):
        raise DatasetError(f"{name}: two questions have the id {twice!r}")


def _repeated(names: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
