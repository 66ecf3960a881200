"""`python -m sppruner_vllm.evaluation shares`: one budget for several pictures, split in three ways.

By size and detail, as `keep_tokens_total` is served; by size alone, as a plain keep ratio splits it; the same number
for each. Of the demo's questions: those about two pictures, and those about one, with a second one beside it that is
small or blank: what a picture that tells little gives up is what the other gets.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image
from torch import Tensor

from sppruner_vllm.pictures.texture import texture
from sppruner_vllm.planning.plan import retained_tokens
from sppruner_vllm.planning.sharing import Claim, shares
from sppruner_vllm.reduction import DEFAULT_METHOD, ImageTokens, reduce
from sppruner_vllm.settings import FEWEST_TOKENS

from .bootstrap import Bootstrap, Interval, Scores
from .dataset import load_dataset
from .engineless_model import EnginelessModel, Prompt, Seen
from .examined import Report, answers_scored
from .pictures import opened
from .questions import Question

Split = Callable[[Sequence[int], Sequence[float], int], list[int]]
"""Tokens that each picture keeps, of the tokens and the detail of each and the tokens of all."""

SERVED: Final = "size and detail"


def by_size_and_detail(tokens: Sequence[int], details: Sequence[float], total: int) -> list[int]:
    """As `keep_tokens_total` is served."""
    return shares(
        [Claim(own, detail, 0, FEWEST_TOKENS, own) for own, detail in zip(tokens, details, strict=True)], total
    )


def by_size(tokens: Sequence[int], details: Sequence[float], total: int) -> list[int]:
    """As a plain keep ratio splits it, but to the token."""
    return by_size_and_detail(tokens, [0.0] * len(details), total)


def alike(tokens: Sequence[int], details: Sequence[float], total: int) -> list[int]:
    """The same number for each, and what a small one cannot use for the others."""
    kept = [0] * len(tokens)
    for _ in range(total):
        open_ones = [place for place, own in enumerate(tokens) if kept[place] < own]
        kept[min(open_ones, key=kept.__getitem__)] += 1
    return kept


SPLITS: Final[dict[str, Split]] = {SERVED: by_size_and_detail, "size": by_size, "the same number": alike}


def _small(picture: Image.Image) -> Image.Image:
    return picture.resize((picture.width // 2, picture.height // 2))


def _blank(picture: Image.Image) -> Image.Image:
    return Image.new("RGB", picture.size, (230, 230, 230))


KINDS: Final[dict[str, Callable[[Image.Image], Image.Image] | None]] = {"alike": None, "small": _small, "blank": _blank}
"""What is done to the picture that the question is not about; of `alike` the question is about both."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A question and its pictures, encoded. details: of each."""

    question: Question
    seen: tuple[Seen, ...]
    details: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One split of the budget at one ratio, on one kind of requests.

    accuracy, whole: share of right answers, with the split and with all tokens. served: difference of what is served to
    this split. first: mean share of the budget that goes to the first picture.
    """

    kind: str
    ratio: float
    split: str
    accuracy: float
    whole: float
    first: float
    served: Interval


class Exam:
    """Questions about two pictures."""

    def __init__(self, model: EnginelessModel, questions: Sequence[Question], most: int) -> None:
        """Args: questions: about one picture or two. most: tokens of an answer."""
        self._model, self._questions, self._most = model, questions, most

    def shown(self, kind: str) -> list[Shown]:
        """About two pictures for `alike`; else about the first of two, the second being another question's."""
        change = KINDS[kind]
        several = [question for question in self._questions if len(question.images) == (2 if change is None else 1)]
        found = []
        for place, question in enumerate(several):
            pictures = [opened(picture) for picture in question.images]
            if change is not None:
                pictures.append(change(opened(several[place - 1].images[0])))
            seen = tuple(self._model.see([picture])[0] for picture in pictures)
            found.append(Shown(question, seen, tuple(map(texture, pictures))))
        return found

    def marks(self, shown: Sequence[Shown], split: Split | None, ratio: float) -> tuple[Scores, float]:
        """Of each question, and the mean share of the first picture; None keeps all."""
        kept = [None if split is None else _budgets(one, split, ratio) for one in shown]
        prompts = [self._prompt(one, own) for one, own in zip(shown, kept, strict=True)]
        found = answers_scored(self._model, [one.question for one in shown], prompts, self._most)
        return found, float(np.mean([own[0] / sum(own) for own in kept if own is not None] or [0.0]))

    def _prompt(self, shown: Shown, budgets: Sequence[int] | None) -> Prompt:
        kept: list[Tensor | None] = [None] * len(shown.seen)
        if budgets is not None:
            asked = self._model.asked(self._model.chat.query(shown.question.text))
            images = [
                ImageTokens(seen.rows, seen.grid, budget=budget, **asked)
                for seen, budget in zip(shown.seen, budgets, strict=True)
            ]
            kept = [one.kept for one in reduce(images, DEFAULT_METHOD, text_mean=self._model.text_mean)]
        return self._model.prompt(shown.question.text, shown.seen, kept)


def examine(exam: Exam, kinds: Sequence[str], ratios: Sequence[float], draws: int) -> list[Row]:
    """All splits on all kinds of requests at all ratios."""
    rows = []
    for kind in kinds:
        shown = exam.shown(kind)
        boot = Bootstrap([one.question.group or one.question.id for one in shown], draws)
        whole, _ = exam.marks(shown, None, 1.0)
        for ratio in ratios:
            found = {name: exam.marks(shown, split, ratio) for name, split in SPLITS.items()}
            rows += [
                Row(
                    kind,
                    ratio,
                    name,
                    float(marks.mean()),
                    float(whole.mean()),
                    first,
                    boot.difference(found[SERVED][0], marks),
                )
                for name, (marks, first) in found.items()
            ]
    return rows


def table(rows: Sequence[Row]) -> str:
    """Markdown: accuracy in per cent, differences in points with their 95 % interval."""
    lines = [
        "| second picture | ratio | split by | first's share, % | right, % | whole, % | served better by, points |",
        "|---|---:|---|---:|---:|---:|---:|",
    ]
    for row in rows:
        figures = f"{100 * row.first:.0f} | {100 * row.accuracy:.1f} | {100 * row.whole:.1f}"
        better = "" if row.split == SERVED else row.served.points
        lines.append(f"| {row.kind} | {row.ratio:g} | {row.split} | {figures} | {better} |")
    return "\n".join(lines)


def main(options: argparse.Namespace) -> int:
    """Run the command. Returns the exit status: 0 whatever the table says.

    Raises:
        DatasetError: there are no such questions.
    """
    questions = load_dataset(options.dataset, options.limit, options.seed)
    exam = Exam(EnginelessModel(options.model), questions, options.max_tokens)
    rows = examine(exam, options.kinds, options.ratios, options.resamples)
    Report("shares", table(rows), len(questions), rows).keep(options)
    return 0


def _budgets(shown: Shown, split: Split, ratio: float) -> list[int]:
    tokens = [len(seen.rows) for seen in shown.seen]
    return split(tokens, shown.details, retained_tokens(sum(tokens), ratio))
