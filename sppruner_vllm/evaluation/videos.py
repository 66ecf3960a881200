"""`python -m sppruner_vllm.evaluation videos`: what is left of the answers about videos at a budget, method by method.

Videos are made of the demo's scenes: one that stands still, one that ends a cut from another scene, one that moves. The
demo model has learnt from pictures alone, so that the whole video is what everything is held against.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from sppruner_vllm.planning.plan import retained_tokens
from sppruner_vllm.planning.videos import FrameGrid

from .bootstrap import Bootstrap, Interval, Scores
from .dataset import load_dataset
from .engineless_model import EnginelessModel, Prompt, Seen
from .examined import Report, answers_scored
from .pictures import opened
from .questions import Question
from .video_methods import METHODS, Choose, Video

KINDS: Final = ("still", "cut", "moving")
SERVED: Final = "served"


@dataclass(frozen=True, slots=True)
class Row:
    """One method on one kind of video at one ratio.

    accuracy, whole: share of right answers, of the method and of the whole video. relative: one over the other.
    served: the difference of what is served to this method.
    """

    kind: str
    ratio: float
    method: str
    accuracy: float
    whole: float
    relative: Interval
    served: Interval


@dataclass(frozen=True, slots=True)
class Shown:
    """A question about a video, encoded. seen: all frames as one. pixels: (N, P)."""

    question: Question
    seen: Seen
    pixels: Tensor
    grid: FrameGrid


class Exam:
    """Questions about videos of a kind."""

    def __init__(self, model: EnginelessModel, questions: Sequence[Question], frames: int, most: int) -> None:
        """Args:
        questions: about one picture each. frames: of a video, as the encoder sees them. most: tokens of an answer.
        """
        self._model, self._questions, self._frames, self._most = model, questions, frames, most

    def shown(self, kind: str) -> Iterator[Shown]:
        """Each question with its video; another question's picture is what a cut comes from."""
        for place, question in enumerate(self._questions):
            own, other = (opened(one.images[0]) for one in (question, self._questions[place - 1]))
            frames = _frames(kind, own, other, self._frames, self._model.cell)
            seen = self._model.see(frames)
            rows = torch.cat([one.rows for one in seen])
            pixels = torch.cat([_by_token(frame, self._model.cell) for frame in frames])
            (height, width) = seen[0].grid
            whole = Seen(rows, (self._frames * height, width))
            yield Shown(question, whole, pixels, (self._frames, height, width))

    def marks(self, shown: Sequence[Shown], choose: Choose | None, ratio: float) -> Scores:
        """Of each question, with the tokens that a method keeps; None keeps all."""
        prompts = [self._prompt(one, None if choose is None else self._kept(one, choose, ratio)) for one in shown]
        return answers_scored(self._model, [one.question for one in shown], prompts, self._most)

    def _kept(self, shown: Shown, choose: Choose, ratio: float) -> Tensor:
        total = len(shown.seen.rows)
        budget = max(2 * self._frames, retained_tokens(total, ratio))
        asked = self._model.asked(self._model.chat.query(shown.question.text))
        video = Video(shown.seen.rows, shown.pixels, shown.grid, budget, asked, self._model.text_mean)
        kept = choose(video)
        if len(kept) != budget:
            raise ValueError(f"{len(kept)} tokens kept of a budget of {budget}")
        return kept

    def _prompt(self, shown: Shown, kept: Tensor | None) -> Prompt:
        return self._model.prompt(shown.question.text, [shown.seen], [kept], frames=shown.grid[0])


def examine(exam: Exam, groups: Sequence[str], kinds: Sequence[str], ratios: Sequence[float], draws: int) -> list[Row]:
    """All methods on all kinds of video at all ratios."""
    boot = Bootstrap(groups, draws)
    rows = []
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task("examining", total=len(kinds) * (1 + len(ratios) * len(METHODS)))
        for kind in kinds:
            shown = list(exam.shown(kind))
            whole = exam.marks(shown, None, 1.0)
            progress.advance(bar)
            for ratio in ratios:
                found = {}
                for name, choose in METHODS.items():
                    found[name] = exam.marks(shown, choose, ratio)
                    progress.advance(bar)
                rows += [
                    Row(
                        kind,
                        ratio,
                        name,
                        float(marks.mean()),
                        float(whole.mean()),
                        boot.relative(marks, whole),
                        boot.difference(found[SERVED], marks),
                    )
                    for name, marks in found.items()
                ]
    return rows


def table(rows: Sequence[Row]) -> str:
    """Markdown: accuracy in per cent, differences in points with their 95 % interval."""
    lines = [
        "| video | ratio | method | right, % | whole, % | of whole, % | served better by, points |",
        "|---|---:|---|---:|---:|---:|---:|",
    ]
    for row in rows:
        figures = f"{100 * row.accuracy:.1f} | {100 * row.whole:.1f} | {100 * (row.relative.value or 0):.1f}"
        better = "" if row.method == SERVED else row.served.points
        lines.append(f"| {row.kind} | {row.ratio:g} | {row.method} | {figures} | {better} |")
    return "\n".join(lines)


def main(options: argparse.Namespace) -> int:
    """Run the command. Returns the exit status: 0 whatever the table says.

    Raises:
        DatasetError: there are no such questions.
    """
    asked = load_dataset(options.dataset, options.limit, options.seed)
    questions = [question for question in asked if len(question.images) == 1]
    exam = Exam(EnginelessModel(options.model), questions, options.frames, options.max_tokens)
    groups = [question.group or question.id for question in questions]
    rows = examine(exam, groups, options.kinds, options.ratios, options.resamples)
    Report("videos", table(rows), len(questions), rows).keep(options, frames=options.frames)
    return 0


def _frames(kind: str, own: Image.Image, other: Image.Image, count: int, cell: int) -> list[Image.Image]:
    """A video that ends in a picture: still, cut to it in the middle, or moving to it by half a token a frame."""
    if kind == "still":
        return [own] * count
    if kind == "cut":
        return [other.resize(own.size)] * (count // 2) + [own] * (count - count // 2)
    steps = [(count - 1 - frame) * cell // 2 for frame in range(count)]
    return [own.transform(own.size, Image.Transform.AFFINE, (1, 0, step, 0, 1, 0)) for step in steps]


def _by_token(frame: Image.Image, cell: int) -> Tensor:
    """(N, P) float32, the pixels of each token, in raster order."""
    pixels = torch.from_numpy(np.array(frame)).float()
    height, width = pixels.shape[0] // cell, pixels.shape[1] // cell
    return pixels.reshape(height, cell, width, cell, 3).transpose(1, 2).reshape(height * width, -1)
