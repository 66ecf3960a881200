"""Asks a checkpoint in this process without any engine: no times, but every picture is encoded only once.

For small models on a CPU, above all the demo's: a table of all methods and ratios takes minutes instead of hours.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final

from PIL import Image
from torch import Tensor

from sppruner_vllm.planning.plan import retained_tokens
from sppruner_vllm.planning.smaller import Grid, resize, smaller_grid
from sppruner_vllm.recipes import Recipe, get_recipe
from sppruner_vllm.reduction import FocusContextParams, ImageTokens, Selection, reduce

from .asking import Answer, AskingFailed, Manner, Usable
from .bare_model import CELL, BareModel, Prompt, Seen
from .conditions import FULL, Condition
from .dataset import Picture, Question
from .merging import merged
from .model_stamp import model_stamp

_PREPARED: Final = 256
"""Prompts made at once, so that those answered together have about the same length."""

_BATCH: Final = 32
_FEWEST: Final = 4
"""Visual tokens of the smallest picture that Qwen2.5-VL's image processor leaves at its size."""


@dataclass(frozen=True, slots=True)
class Variant:
    """What a selection may be varied in, beyond its method.

    params: constants of focus_context. centred: subtract the mean text embedding from the query. query: in place of
    each question; None leaves it in force. merge: weight of dropped tokens in context anchors (merging.py).
    attention: bring the encoder's column attention, as a server does with `--saliency-attention`.
    """

    params: FocusContextParams = field(default_factory=FocusContextParams)
    centred: bool = True
    query: str | None = None
    merge: float = 0.0
    attention: bool = False


class BareAsker:
    """A checkpoint of our own."""

    def __init__(self, model: str, manner: Manner) -> None:
        """Load the model.

        Args:
            model: folder or hub name. manner: how to ask.
        """
        self.model, self.stamp = model, model_stamp(model)
        self.facts: Mapping[str, str] = {"backend": "bare"}
        self._manner = manner
        self._bare = BareModel(model)
        self._seen: dict[tuple[Picture, Grid | None], Seen] = {}
        self._open = lru_cache(maxsize=64)(_open)

    def usable(self, question: Question, wanted: Sequence[Condition]) -> Usable:
        try:
            self.ask([question], FULL)
        except ValueError as problem:
            raise AskingFailed(f"question {question.id}: {problem}") from problem
        return Usable(list(wanted))

    def ask(self, questions: Sequence[Question], condition: Condition) -> list[Answer]:
        return self.ask_varied(questions, condition, Variant(query=self._manner.focus_query))

    def ask_varied(self, questions: Sequence[Question], condition: Condition, variant: Variant) -> list[Answer]:
        """As `ask`, under another variant of the selection."""
        answers: dict[int, Answer] = {}
        for start in range(0, len(questions), _PREPARED):
            part = range(start, min(len(questions), start + _PREPARED))
            prompts = self._prompts([questions[index] for index in part], condition, variant)
            by_length = sorted(zip(part, prompts, strict=True), key=lambda pair: len(pair[1].embedded))
            for first in range(0, len(by_length), _BATCH):
                indices, alike = zip(*by_length[first : first + _BATCH], strict=True)
                texts = self._bare.answer(alike, self._manner.max_tokens)
                for index, text, prompt in zip(indices, texts, alike, strict=True):
                    original = sum(self._full(picture).rows.shape[0] for picture in questions[index].images)
                    answers[index] = Answer(text, original, prompt.visual, len(prompt.embedded), None, None)
        return [answers[index] for index in range(len(questions))]

    def _prompts(self, questions: Sequence[Question], condition: Condition, variant: Variant) -> list[Prompt]:
        recipe = get_recipe(condition.method) if condition != FULL else Recipe(shrinks_to=None, selects=None)
        pictures = [[self._shown(picture, condition, recipe) for picture in question.images] for question in questions]
        kept: list[list[Tensor | None]] = [[None] * len(shown) for shown in pictures]
        if recipe.selects is not None:
            images = self._images(questions, pictures, condition, variant)
            mean = self._bare.text_mean if variant.centred else None
            chosen = iter(reduce(images, recipe.selects, text_mean=mean, params=variant.params))
            selections = [[next(chosen) for _ in shown] for shown in pictures]
            kept = [[one.kept for one in shown] for shown in selections]
            if variant.merge:
                pictures = [
                    [_merged(seen, one, variant.merge) for seen, one in zip(shown, those, strict=True)]
                    for shown, those in zip(pictures, selections, strict=True)
                ]
        return [
            self._bare.prompt(self._manner.prompt(question), shown, stays)
            for question, shown, stays in zip(questions, pictures, kept, strict=True)
        ]

    def _images(
        self, questions: Sequence[Question], pictures: Sequence[Sequence[Seen]], condition: Condition, variant: Variant
    ) -> list[ImageTokens]:
        return [
            ImageTokens(
                seen.rows,
                seen.grid,
                query,
                self._budget(picture, condition),
                seen.attention if variant.attention else None,
            )
            for question, shown in zip(questions, pictures, strict=True)
            for query in [self._bare.embed(variant.query or self._manner.prompt(question))]
            for picture, seen in zip(question.images, shown, strict=True)
        ]

    def _budget(self, picture: Picture, condition: Condition) -> int:
        return retained_tokens(len(self._full(picture).rows), condition.ratio)

    def _full(self, picture: Picture) -> Seen:
        return self._look(picture, None)

    def _shown(self, picture: Picture, condition: Condition, recipe: Recipe) -> Seen:
        """The picture as the method wants it encoded."""
        full = self._full(picture)
        if recipe.shrinks_to is None:
            return full
        budget = self._budget(picture, condition)
        least = _FEWEST if recipe.selects is None else max(_FEWEST, budget)
        return self._look(picture, smaller_grid(full.grid, recipe.shrinks_to(len(full.rows), budget), least))

    def _look(self, picture: Picture, grid: Grid | None) -> Seen:
        key = picture, grid
        if key not in self._seen:
            image = self._open(picture)
            (self._seen[key],) = self._bare.see([image if grid is None else resize(image, grid, CELL)])
        return self._seen[key]


def _merged(seen: Seen, selection: Selection, share: float) -> Seen:
    return replace(seen, rows=seen.rows.index_copy(0, selection.kept, merged(seen.rows, selection, share)))


def _open(picture: Picture) -> Image.Image:
    return Image.open(io.BytesIO(picture.read())).convert("RGB")
