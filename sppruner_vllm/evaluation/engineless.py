"""Asks a checkpoint in this process without any engine: no times, but every picture is encoded only once.

For small models on a CPU, above all the demo's: a table of all methods and ratios takes minutes instead of hours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from hashlib import blake2b
from typing import Final

from torch import Tensor

from sppruner_vllm.pictures.texture import texture
from sppruner_vllm.planning.plan import ReductionPlan
from sppruner_vllm.planning.smaller import Grid, resize
from sppruner_vllm.recipes import get_recipe
from sppruner_vllm.reduction import DEFAULT_METHOD, FocusContextParams, ImageTokens, Selection, get_method, reduce
from sppruner_vllm.request.asked import ReductionRequest
from sppruner_vllm.wire import StageOrder

from .asking import Answer, AskingFailed, Manner, Usable
from .attention_probe import WIDER, most_looked_at
from .conditions import FULL, Condition, reading, renumbered
from .disturbing import Disturbance
from .engineless_llava import load
from .engineless_model import NO_TAPS, Prompt, Seen, Tap
from .merging import merged
from .model_stamp import model_stamp
from .pictures import opened
from .questions import Picture, Question

_PREPARED: Final = 256
"""Prompts made at once, so that those answered together have about the same length."""

_BATCH: Final = 32

_LONGER: Final = 1.2
"""Of prompts that are answered together, how much longer the longest may be than the shortest."""


@dataclass(frozen=True, slots=True)
class Variant:
    """What a selection may be varied in, beyond its method.

    params: constants of focus_context. centred: subtract the mean text embedding from the query. query: in place of
    each question; None leaves it in force. merge: weight of dropped tokens in context anchors (merging.py).
    attention: bring the encoder's column attention, as a server does with `--saliency-attention`. patches: bring the
    merger's input, as with `--rank-on patches`.
    depth: share of the language model's layers that read the question, as with `--question-depth`; 0 for its words.
    words: a method that hears the words beside what these layers read does so; False leaves it the latter alone.
    disturbance: what is done to the vectors of questions, of several together (disturbing.py).
    renumbered: kept tokens get positions one behind the other, of a model whose positions lie on a line.
    probe: layer of the language model, counted from 1, by whose attention the selection's tokens are chosen from twice
    as many (attention_probe.py); 0 for none.
    auto: each picture keeps what fits it, as with `keep_ratio: "auto"`; the condition's ratio is of no matter then.
    """

    params: FocusContextParams = field(default_factory=FocusContextParams)
    centred: bool = True
    query: str | None = None
    merge: float = 0.0
    attention: bool = False
    patches: bool = False
    depth: float = 0.0
    words: bool = True
    disturbance: Disturbance | None = None
    renumbered: bool = False
    probe: int = 0
    auto: bool = False

    @property
    def taps(self) -> Set[Tap]:
        """What it hears of the encoder beside the rows."""
        heard: dict[Tap, bool] = {"attention": self.attention, "merger_input": self.patches}
        return {tap for tap, wanted in heard.items() if wanted}


class EnginelessAsker:
    """A checkpoint of our own."""

    def __init__(self, model: str, manner: Manner, taps: Set[Tap] = NO_TAPS) -> None:
        """Load the model.

        Args:
            model: folder or hub name. manner: how to ask.
            taps: what every picture is encoded with; a variant that hears more has its pictures encoded again.
        """
        self.model, self.stamp = model, model_stamp(model)
        self.facts: Mapping[str, str] = {"backend": "bare"}
        self._manner = manner
        self._plain = load(model)
        self._taps = taps
        self._seen: dict[tuple[Picture, Grid | None, tuple[StageOrder, ...]], tuple[Set[Tap], Seen]] = {}
        self._said: dict[bytes, str] = {}
        self._open = lru_cache(maxsize=64)(opened)
        self._texture = lru_cache(maxsize=None)(lambda picture: texture(self._open(picture)))

    def usable(self, question: Question, wanted: Sequence[Condition]) -> Usable:
        try:
            for condition in wanted:
                reading(condition.method)
                if renumbered(condition.method) and not self._plain.on_a_line:
                    raise ValueError(f"{condition.method}: this model's positions have rows and columns")
        except ValueError as problem:
            raise AskingFailed(str(problem)) from problem
        try:
            self.ask([question], FULL)
        except ValueError as problem:
            raise AskingFailed(f"question {question.id}: {problem}") from problem
        return Usable(list(wanted))

    def ask(self, questions: Sequence[Question], condition: Condition) -> list[Answer]:
        _, depth = reading(condition.method)
        variant = Variant(query=self._manner.focus_query, depth=depth, renumbered=renumbered(condition.method))
        return self.ask_varied(questions, condition, variant)

    def sizes(self, question: Question) -> list[int]:
        """Visual tokens of each picture of a question, as it is."""
        return [len(self._look(picture, None).rows) for picture in question.images]

    def ask_varied(
        self,
        questions: Sequence[Question],
        condition: Condition,
        variant: Variant,
        steered: list[bool] | None = None,
    ) -> list[Answer]:
        """As `ask`, under another variant of the selection.

        Args:
            steered: is extended by whether its question steered each selection.
        """
        answers: dict[int, Answer] = {}
        for start in range(0, len(questions), _PREPARED):
            part = range(start, min(len(questions), start + _PREPARED))
            noted = [] if steered is None else steered
            prompts = self._prompts([questions[index] for index in part], condition, variant, noted)
            texts = self._texts(prompts)
            for index, text, prompt in zip(part, texts, prompts, strict=True):
                answers[index] = Answer(
                    text, sum(self.sizes(questions[index])), prompt.visual, len(prompt.embedded), None, None
                )
        return [answers[index] for index in range(len(questions))]

    def _texts(self, prompts: Sequence[Prompt]) -> list[str]:
        """Answers to prompts; one that was answered before is not asked again."""
        keys = [_key(prompt) for prompt in prompts]
        new = {key: prompt for key, prompt in zip(keys, prompts, strict=True) if key not in self._said}
        for batch in answered_together(new):
            texts = self._plain.answer([new[key] for key in batch], self._manner.max_tokens)
            self._said.update(zip(batch, texts, strict=True))
        return [self._said[key] for key in keys]

    def _prompts(
        self, questions: Sequence[Question], condition: Condition, variant: Variant, steered: list[bool]
    ) -> list[Prompt]:
        plans = [self._plans(question, condition, variant) for question in questions]
        pictures = [
            [self._look(picture, plan, variant.taps) for picture, plan in zip(question.images, planned, strict=True)]
            for question, planned in zip(questions, plans, strict=True)
        ]
        kept: list[list[Tensor | None]] = [[None] * len(shown) for shown in pictures]
        selects = get_recipe(_method(condition)).selects
        for number, index, selection in self._selections(plans, pictures, selects, variant) if selects else ():
            kept[number][index] = selection.kept
            steered.append(selection.relevance is not None and bool(selection.relevance.any()))
            if variant.merge:
                pictures[number][index] = _merged(pictures[number][index], selection, variant.merge)
        if variant.probe:
            self._probe(questions, plans, pictures, kept, variant.probe)
        return [
            self._plain.prompt(
                self._manner.prompt(question), shown, stays, question.before, renumbered=variant.renumbered
            )
            for question, shown, stays in zip(questions, pictures, kept, strict=True)
        ]

    def _probe(
        self,
        questions: Sequence[Question],
        plans: Sequence[Sequence[ReductionPlan]],
        pictures: Sequence[Sequence[Seen]],
        kept: list[list[Tensor | None]],
        layer: int,
    ) -> None:
        """Leave of the selected tokens of each picture those that the question looks at, as many as are planned."""
        for question, planned, shown, stays in zip(questions, plans, pictures, kept, strict=True):
            prompt = self._plain.prompt(self._manner.prompt(question), shown, stays, question.before)
            for index, mass in enumerate(self._plain.looked_at(prompt, layer)):
                if (chosen := stays[index]) is not None:
                    stays[index] = most_looked_at(mass, chosen, planned[index].retained)

    def _plans(self, question: Question, condition: Condition, variant: Variant) -> tuple[ReductionPlan, ...]:
        """The server's plans. Pictures are encoded at the size they have, so that only the smallest would grow."""
        scope = self._manner.focus_scope or "question"
        focus = question.focus if variant.query is None else variant.query
        request = ReductionRequest(condition.ratio, None, focus, _method(condition), scope, auto=variant.auto)
        grids = [self._look(picture, None).grid for picture in question.images]
        details = [partial(self._texture, picture) for picture in question.images]
        return self._plain.chat.plans(self._manner.prompt(question), grids, request, question.before, details)

    def _selections(
        self,
        plans: Sequence[Sequence[ReductionPlan]],
        pictures: Sequence[Sequence[Seen]],
        method: str,
        variant: Variant,
    ) -> Iterator[tuple[int, int, Selection]]:
        """Each selection that the plans ask for, with the numbers of its question and of its picture."""
        places: list[tuple[int, int]] = []
        images: list[ImageTokens] = []
        asked: list[Sequence[int]] = []
        for number, (planned, shown) in enumerate(zip(plans, pictures, strict=True)):
            for index, (plan, seen) in enumerate(zip(planned, shown, strict=True)):
                if plan.stages:
                    attention = seen.attention if variant.attention else None
                    behind = seen.merger_input if variant.patches else None
                    budget = min(len(seen.rows), plan.retained * (WIDER if variant.probe else 1))
                    images.append(ImageTokens(seen.rows, seen.grid, None, budget, attention, behind))
                    asked.append(plan.query_ids)
                    places.append((number, index))
        hears = get_method(method).hears_states
        read = self._read(asked, variant) if variant.depth else [None] * len(asked)
        params = variant.params
        if variant.depth and not (hears and variant.words):
            mean = self._plain.states_mean(variant.depth)
            images = [replace(image, query=states) for image, states in zip(images, read, strict=True)]
            params = params.for_states if hears else params
        else:
            mean = self._plain.text_mean
            words = _disturbed([self._plain.embed(ids) for ids in asked], mean, variant.disturbance)
            images = [
                replace(
                    image,
                    query=query,
                    states=None if states is None else states - self._plain.states_mean(variant.depth),
                )
                for image, query, states in zip(images, words, read, strict=True)
            ]
        chosen = reduce(images, method, text_mean=mean if variant.centred else None, params=params)
        yield from ((*place, selection) for place, selection in zip(places, chosen, strict=True))

    def _read(self, asked: Sequence[Sequence[int]], variant: Variant) -> list[Tensor | None]:
        """What the layers read in each question."""
        read = [self._plain.states(ids, variant.depth) for ids in asked]
        return _disturbed(read, self._plain.states_mean(variant.depth), variant.disturbance)

    def _look(self, picture: Picture, plan: ReductionPlan | None, taps: Set[Tap] = NO_TAPS) -> Seen:
        """A picture as a plan has it encoded, or as it is, with these taps at least."""
        grid = None if plan is None else plan.resized
        stages = () if plan is None else tuple(stage for stage in plan.stages if stage.where != "rows")
        key = picture, grid, stages
        brought, seen = self._seen.get(key, (self._taps, None))
        if seen is None or not taps <= brought:
            image = self._open(picture)
            shown = image if grid is None else resize(image, grid, self._plain.cell)
            (seen,) = self._plain.see([shown], stages, brought | taps)
            self._seen[key] = brought | taps, seen
        return seen


def _method(condition: Condition) -> str:
    return DEFAULT_METHOD if condition == FULL else reading(condition.method)[0]


def answered_together(prompts: Mapping[bytes, Prompt]) -> Iterator[list[bytes]]:
    """Keys of prompts to answer together, by length: none is filled up to far more than its own."""
    batch: list[bytes] = []
    for key in sorted(prompts, key=lambda key: len(prompts[key].embedded)):
        if batch and (len(batch) == _BATCH or len(prompts[key].embedded) > _LONGER * len(prompts[batch[0]].embedded)):
            yield batch
            batch = []
        batch.append(key)
    if batch:
        yield batch


def _key(prompt: Prompt) -> bytes:
    """The same for prompts of the same tokens at the same places."""
    parts = blake2b(prompt.embedded.numpy().tobytes(), digest_size=16)
    parts.update(prompt.positions.numpy().tobytes())
    return parts.digest()


def _disturbed(queries: Sequence[Tensor | None], mean: Tensor, disturbance: Disturbance | None) -> list[Tensor | None]:
    asked = [query for query in queries if query is not None]
    if disturbance is None or not asked:
        return list(queries)
    others = iter(disturbance(asked, mean))
    return [None if query is None else next(others) for query in queries]


def _merged(seen: Seen, selection: Selection, share: float) -> Seen:
    return replace(seen, rows=seen.rows.index_copy(0, selection.kept, merged(seen.rows, selection, share)))
