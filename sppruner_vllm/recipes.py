"""Every name that `reduction_method` may take, and the stages behind it.

A stage makes the image smaller before the encoder, drops tokens at its entry or inside it, or selects among its rows.
All go by one list of names, so that requests, settings and reports need not care.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, get_args

from .reduction import DEFAULT_METHOD, get_method, method_names

Where = Literal["image", "entry", "encoder", "rows"]
"""Before the encoder, at its entry, inside it, behind it: the order in which stages run."""

_ORDER: Final[tuple[Where, ...]] = get_args(Where)

UNLIKE: Final = "unlike"
"""What chooses inside the encoder: those least like another token go on (reduction/survivors.py). No name for requests.
"""

REPEATS: Final = "repeats"
"""What chooses at the entry: tokens whose pixels equal another's stay out (reduction/repeats.py). No name for requests.
"""


def _budget(_: int, budget: int) -> int:
    return budget


def halfway(original: int, retained: int) -> int:
    """Tokens of an image that is first made smaller and then reduced: both steps shrink by the same factor."""
    return math.isqrt(original * retained)


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of a recipe.

    where: its place on the way of a picture.
    tokens: most tokens after it, from the image's own and the budget. Only the last stage comes to the budget itself.
    method: what chooses in a stage in the worker, among the rows a selection method; None for a smaller image.
    block: of the encoder, behind which a stage inside it stands.
    """

    where: Where
    tokens: Callable[[int, int], int] = _budget
    method: str | None = None
    block: int | None = None


@dataclass(frozen=True, slots=True)
class Recipe:
    """The stages of one method, in the order they run."""

    stages: tuple[Stage, ...]

    @property
    def in_worker(self) -> tuple[Stage, ...]:
        """The stages behind the processor."""
        return tuple(stage for stage in self.stages if stage.where != "image")

    @property
    def shrinks_to(self) -> Callable[[int, int], int] | None:
        """Most tokens of the smaller image; None sends the image as it is."""
        return next((stage.tokens for stage in self.stages if stage.where == "image"), None)

    @property
    def selects(self) -> str | None:
        """The method that brings the rows to the budget; None when the smaller image is all."""
        return next((stage.method for stage in self.stages if stage.where == "rows"), None)

    @property
    def uses_query(self) -> bool:
        return self.selects is not None and get_method(self.selects).uses_query

    def cut(self, factor: float, block: int | None) -> Recipe:
        """The recipe with a stage inside the encoder; itself where it selects nothing, or nothing is to be cut.

        Args:
            factor: tokens that go on, in times of the budget; 0 for all. block: behind which they do, None for nowhere.
        """
        if not factor or block is None or self.selects is None:
            return self
        return self._with(Stage("encoder", lambda _, budget: math.ceil(factor * budget - 1e-9), UNLIKE, block))

    def without_repeats(self) -> Recipe:
        """The recipe with a stage at the encoder's entry; itself where it selects nothing."""
        return self if self.selects is None else self._with(Stage("entry", lambda original, _: original, REPEATS))

    def _with(self, stage: Stage) -> Recipe:
        return Recipe(tuple(sorted((*self.stages, stage), key=lambda one: _ORDER.index(one.where))))


_OF_SEVERAL_STAGES: Final = {
    "downscale": Recipe((Stage("image"),)),
    "hybrid": Recipe((Stage("image", halfway), Stage("rows", method=DEFAULT_METHOD))),
}


def request_methods() -> frozenset[str]:
    """Names that a request, or the operator's default, may give."""
    return method_names() | _OF_SEVERAL_STAGES.keys()


def get_recipe(name: str) -> Recipe:
    """The stages of a method; any name that is not one of ours above is a selection method's."""
    return _OF_SEVERAL_STAGES.get(name, Recipe((Stage("rows", method=name),)))
