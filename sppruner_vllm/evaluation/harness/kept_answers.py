"""Answers that a harness has had, on disk: a run that was killed asks for none of them again.

Nothing but the standard library: it runs in the harness's own environment.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from sppruner_vllm.evaluation.lines import append_lines, read_lines


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """One answer of the server's.

    run: what must be the same for the answer to count. label: the harness's name of the question. key: digest of the
    question as sent. picture: digest of its pictures. width, height: of the first picture, in pixels; None without one.
    original, retained: visual tokens before and after reduction, None where the server does not say.
    refused: the server's error code when it would not answer this question; the text is empty then.
    """

    run: str
    label: str
    key: str
    picture: str
    text: str
    width: int | None = None
    height: int | None = None
    original: int | None = None
    retained: int | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    refused: str | None = None


class KeptAnswers:
    """A file of answers; several threads may add to it."""

    def __init__(self, path: Path | None, run: str) -> None:
        """Read what there is.

        Args:
            path: None keeps nothing.
            run: answers of other runs in the file do not count.
        """
        self._path, self._run = path, run
        self._lock = threading.Lock()
        self._known = {(one.label, one.key): one for one in read_answers(path)} if path is not None else {}

    def get(self, label: str, key: str) -> KeptAnswer | None:
        """The answer to a question, None when there is none of this run."""
        found = self._known.get((label, key))
        return found if found is not None and found.run == self._run else None

    def add(self, answer: KeptAnswer) -> None:
        """Keep an answer; it outlives this process from here on."""
        if self._path is None:
            return
        with self._lock:
            append_lines(self._path, [asdict(answer)])


def read_answers(path: Path) -> Iterator[KeptAnswer]:
    """Every answer in a file, in the order they came."""
    names = {one.name for one in fields(KeptAnswer)}
    for line in read_lines(path):
        known: dict[str, Any] = {name: value for name, value in line.items() if name in names}
        yield KeptAnswer(**known)
