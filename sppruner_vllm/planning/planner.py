"""The plans of a request: images as they were sent, what is asked of them, what their family allows.

The processor, `explain` and the evaluation all plan here, so that what is measured and drawn is what is served.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sppruner_vllm.recipes import Recipe, get_recipe
from sppruner_vllm.reduction.pieces import Piece
from sppruner_vllm.request.asked import ReductionRequest
from sppruner_vllm.settings import Settings
from sppruner_vllm.wire import MOST_TOKENS, StageOrder

from .auto import auto_ratio
from .paying import Parts
from .plan import ReductionPlan, SkippedReason, kept_within, plan_image, unreduced
from .query import TurnFinder, turn_numbers, turn_queries
from .scope import FirstQuestions, Served, nothing_known
from .sharing import Claim, shares_of_both
from .smaller import Grid, smaller_grid

MOST_SURVIVORS: Final = 0.75
"""Largest share of an image's tokens that may go on behind a cut: with more, the cut costs what it saves."""

Regrid = Callable[[Grid], Grid]
"""The token grid that a picture of exactly a grid's pixels gets: another one where its family would resize it again."""


@dataclass(frozen=True, slots=True)
class Sent:
    """An image as the client sent it.

    grid: visual tokens that stock vLLM would give it. regrid: how a smaller form of it would be sized; None for what
    cannot be made smaller: embeddings, arrays, and pictures of a family that knows one size only.
    pieces: the grids that its tokens are; none where they are one.
    key: names the picture itself, whatever is done with it.
    shrunk: whether it was made smaller before, to keep a limit.
    texture: gives the detail of its pixels, in [0, 1], of embeddings 1; not called where nothing depends on it.
    """

    grid: Grid
    regrid: Regrid | None
    key: str = ""
    texture: Callable[[], float] = lambda: 1.0
    shrunk: bool = False
    pieces: tuple[Piece, ...] = ()

    @property
    def tokens(self) -> int:
        return self.grid[0] * self.grid[1]


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt as its processor sees it.

    ids: token ids before placeholder expansion. image_token: the id that stands for one image.
    turns: gives what finds the text that belongs to an image. encode: token ids of a plain text. Neither is called
        where no question matters.
    """

    ids: Sequence[int]
    image_token: int
    turns: Callable[[], TurnFinder]
    encode: Callable[[str], Sequence[int]]

    @property
    def places(self) -> list[int]:
        return [index for index, token in enumerate(self.ids) if token == self.image_token]


def plan_images(
    sent: Sequence[Sent],
    prompt: Prompt,
    request: ReductionRequest,
    limits: Settings,
    known: FirstQuestions | None = None,
    parts: Parts | None = None,
    cut_block: int | None = None,
    skips: bool = False,
    shares: Sequence[int] | None = None,
) -> tuple[ReductionPlan, ...]:
    """One plan per image.

    Args:
        sent: the images in the order of the prompt.
        prompt: the prompt that holds them.
        request: validated request fields.
        limits: the operator's settings.
        known: what images were asked before; without it every question is the first.
        parts: what the parts of a prefill take; without them every reduction counts as paying.
        cut_block: the encoder's block behind which it can be cut, None where it cannot.
        skips: whether the encoder can do without tokens that repeat others.
        shares: what each gets of a budget that videos share; without them images share it alone.

    Raises:
        InvalidField: a list of ratios has not one for each image.
    """
    if request.keeps_all:
        return all_whole(sent, request, "keep_ratio_is_1")
    request.refuse_other_count(len(sent))
    recipe, places = get_recipe(request.method), prompt.places
    recipe = recipe.cut(limits.encoder_cut, cut_block)
    if limits.skip_repeats and skips:
        recipe = recipe.without_repeats()
    if recipe.in_worker and not _rows_can_be_placed(prompt.ids, places, sent):
        return all_whole(sent, request, "unsupported_input")
    queries = _queries(prompt, places, len(sent), request, recipe, limits)
    known = nothing_known() if known is None else known
    asked_of = _each(request, len(sent))
    if request.keep_tokens_total is not None:
        if shares is None:
            shares, _ = shares_of_both(claims_of(sent, prompt, request, limits), (), request.keep_tokens_total)
        asked_of = [asked.with_share(part) for asked, part in zip(asked_of, shares, strict=True)]
    asked_of = [
        asked.at_ratio(auto_ratio(image.tokens, image.texture(), asked, limits)) if asked.auto else asked
        for image, asked in zip(sent, asked_of, strict=True)
    ]
    return tuple(
        _scoped(image, query, recipe, asked, limits, known, parts if asked.may_stay_whole else None)
        for image, query, asked in zip(sent, queries, asked_of, strict=True)
    )


def all_whole(sent: Sequence[Sent], request: ReductionRequest, reason: SkippedReason) -> tuple[ReductionPlan, ...]:
    """Plans that keep every token.

    Args:
        sent, request: as above. reason: of those that a ratio below 1 was asked for.

    Raises:
        InvalidField: a list of ratios has not one for each image.
    """
    request.refuse_other_count(len(sent))
    return tuple(
        unreduced(image.tokens, asked, "keep_ratio_is_1" if asked.keeps_all else reason)
        for image, asked in zip(sent, _each(request, len(sent)), strict=True)
    )


def _each(request: ReductionRequest, images: int) -> list[ReductionRequest]:
    return [request.of_image(place) for place in range(images)]


def claims_of(sent: Sequence[Sent], prompt: Prompt, request: ReductionRequest, limits: Settings) -> list[Claim]:
    """What each image may get of a budget that all share."""
    turns = turn_numbers(prompt.ids, prompt.places[: len(sent)], prompt.turns())
    return [
        Claim(image.tokens, image.texture(), turn, *kept_within(image.tokens, request, limits))
        for image, turn in zip(sent, turns, strict=True)
    ]


def _queries(
    prompt: Prompt, places: Sequence[int], images: int, request: ReductionRequest, recipe: Recipe, limits: Settings
) -> list[tuple[int, ...]]:
    if not recipe.uses_query or request.focus_scope == "image":
        return [()] * images
    turns = prompt.turns()
    if request.focus_query is None:
        return turn_queries(prompt.ids, places[:images], turns, limits.max_query_tokens)
    spoken = tuple(token for token in prompt.encode(request.focus_query) if token not in turns.silent)
    return [spoken[-limits.max_query_tokens :]] * images


def _scoped(
    image: Sent,
    query: tuple[int, ...],
    recipe: Recipe,
    request: ReductionRequest,
    limits: Settings,
    known: FirstQuestions,
    parts: Parts | None,
) -> ReductionPlan:
    """The image's plan for its own question, or the one that all questions share."""
    own = _staged(plan_image(image.tokens, request, query, limits), recipe, request, image)
    if parts is not None and not parts.pay(own, [piece.tokens for piece in image.pieces]):
        return unreduced(image.tokens, request, "would_not_pay")
    if not recipe.uses_query or not own.reduces:
        return own
    if request.focus_scope == "auto":
        at_least = None if request.shared else limits.shared_keep_ratio
        shared = plan_image(image.tokens, request, (), limits, at_least=at_least)
        shared = _staged(shared, recipe, request, image)
        # What would share a selection counts as one.
        if not known.is_first(f"{image.key} {request.method} {shared.retained}", query):
            return replace(shared, scope="image")
    scope: Served = "question" if query else "image"
    return replace(own, scope=scope)


def _staged(plan: ReductionPlan, recipe: Recipe, request: ReductionRequest, sent: Sent) -> ReductionPlan:
    if not plan.reduces:
        return plan
    plan = _shrunk(plan, recipe, request, sent)
    return replace(plan, stages=tuple(_orders(plan, recipe))) if plan.reduces else plan


def _orders(plan: ReductionPlan, recipe: Recipe) -> Iterator[StageOrder]:
    """What the worker does; a cut that would leave nearly all tokens of the encoded image is left out."""
    for stage in recipe.in_worker:
        if stage.where == "image" or stage.method is None:
            continue
        budget = stage.tokens(plan.encoded, plan.retained)
        if stage.where != "encoder":
            yield StageOrder(stage.where, stage.method, budget)
        elif budget <= MOST_SURVIVORS * plan.encoded:
            yield StageOrder("encoder", stage.method, budget, stage.block)


def _shrunk(plan: ReductionPlan, recipe: Recipe, request: ReductionRequest, sent: Sent) -> ReductionPlan:
    """The plan with its smaller image, which is left out where the worker's stages can do without."""
    stages = recipe.in_worker
    if recipe.shrinks_to is None:
        return plan
    if sent.regrid is None:
        return plan if stages else unreduced(plan.original, request, "unsupported_input")
    least = math.prod(sent.regrid((1, 1)))
    if stages:
        least = max(least, plan.retained)
    smaller = smaller_grid(sent.grid, recipe.shrinks_to(plan.original, plan.retained), least)
    # An image far longer than wide, under a small pixel limit of the operator's, would be resized once more.
    if math.prod(smaller) == plan.original or sent.regrid(smaller) != smaller:
        return plan if stages else unreduced(plan.original, request, "image_too_small")
    return replace(plan, retained=plan.retained if stages else math.prod(smaller), resized=smaller)


def _rows_can_be_placed(ids: Sequence[int], places: Sequence[int], sent: Sequence[Sent]) -> bool:
    """Whether positions can be recovered (worker/positions.py): text comes last, no image is one token or enormous."""
    if len(places) < len(sent) or places[-1] == len(ids) - 1:
        return False
    return all(1 < image.tokens <= MOST_TOKENS for image in sent)
