"""Questions about pictures: what the evaluation asks, and how it tells one question from another.

Where they come from is another module's business (dataset.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass

from .scoring import EXACT, Metric
from .turns import Turn


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
    before: earlier turns of the chat, oldest first; the pictures are sent in the first of all turns.
    focus: what the pictures' tokens are chosen for in place of the question; None leaves the question in force.
    """

    id: str
    images: tuple[Picture, ...]
    text: str
    answers: tuple[str, ...]
    metric: Metric = EXACT
    family: str = "all"
    group: str | None = None
    before: tuple[Turn, ...] = ()
    focus: str | None = None


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
    earlier = [*(asdict(turn) for turn in question.before), *([] if question.focus is None else [question.focus])]
    asked = json.dumps([shown, question.text, question.answers, asdict(question.metric), *earlier])
    return Identity(hashlib.sha256(asked.encode()).hexdigest()[:16], question.group or shown)
