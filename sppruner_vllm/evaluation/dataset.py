"""A dataset by its name: a user's JSONL file, or the questions about the demo's world."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from .demo_dataset import USUAL_COUNT, demo_questions, hard_questions
from .jsonl import read_jsonl
from .questions import DatasetError, Question

DEMO: Final = "demo"
HARD: Final = "hard"
_OURS: Final = {DEMO: demo_questions, HARD: hard_questions}
_MOST_FAMILIES: Final = 16
"""More families than any of ours has."""


def load_dataset(name: str, limit: int | None, seed: int, families: Sequence[str] = ()) -> list[Question]:
    """The questions of `demo`, of `hard` or of a JSONL file, at most `limit`.

    Args:
        name: `demo`, `hard`, or a file's path.
        limit: None takes all of a file, and the usual number of the demo's and the hard ones.
        seed: of the scenes; without effect on a file.
        families: only questions of these; none for all.

    Raises:
        DatasetError: there is none, or an entry makes no sense.
    """
    if name in _OURS:
        number = limit or USUAL_COUNT
        # Drawn one by one: of rare families more has to be looked through.
        drawn = _OURS[name](number * (_MOST_FAMILIES if families else 1), seed)
        questions = list(islice(_of(families, drawn), number if families else limit))
    else:
        questions = list(islice(_of(families, read_jsonl(Path(name))), limit))
    if not questions:
        raise DatasetError(f"{name} holds no questions" + (f" of {', '.join(families)}" if families else ""))
    _check(questions, name)
    return questions


def _of(families: Sequence[str], questions: Iterable[Question]) -> Iterable[Question]:
    return (question for question in questions if not families or question.family in families)


def _check(questions: Sequence[Question], name: str) -> None:
    if twice := _repeated(question.id for question in questions):
        raise DatasetError(f"{name}: two questions have the id {twice!r}")


def _repeated(names: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
