"""Which visual tokens a question keeps of an image, computed as the server would and drawn.

Saliency is the encoder output's; a server that runs with SPPRUNER_SALIENCY_ATTENTION selects a little differently.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

from PIL import Image, UnidentifiedImageError

from sppruner_vllm.errors import InvalidField
from sppruner_vllm.planning.scope import Served
from sppruner_vllm.recipes import get_recipe, request_methods
from sppruner_vllm.reduction import ImageTokens, Selection, reduce
from sppruner_vllm.request.checking import validate_keep_ratio

from .drawing import PANELS, Panel, caption, draw, panels_of
from .vision import VisionModel


@dataclass(frozen=True, slots=True)
class Explanation:
    """A selection with what is needed to draw it."""

    image: Image.Image
    question: str
    grid: tuple[int, int]
    selection: Selection

    @property
    def caption(self) -> str:
        return caption(self.grid, self.selection)

    def draw(self, panels: Sequence[Panel] = PANELS) -> Image.Image:
        """The panels of `drawing.draw`."""
        return draw(self.image, self.grid, self.selection, self.question, panels)


def explain(
    model: VisionModel,
    image: Image.Image,
    question: str,
    keep_ratio: float,
    method: str = "focus_context",
    scope: Served = "question",
) -> Explanation:
    """Select tokens of `image` for `question`.

    Args:
        model: loaded once for many images.
        image: of any size.
        question: empty for none.
        keep_ratio: fraction in (0, 1].
        method: any that selects rows of the encoder; `hybrid` is shown on its smaller image.
        scope: `image` for what all questions share.

    Raises:
        ValueError: a ratio out of range, no such method, or one that selects nothing.
    """
    ratio = validate_keep_ratio(keep_ratio)
    if method not in request_methods():
        raise ValueError(f"there is no method {method}; choose of {', '.join(sorted(request_methods()))}")
    recipe = get_recipe(method)
    selects = recipe.selects
    if selects is None:
        raise ValueError(f"{method} sends a smaller image and keeps all its tokens: there is no selection to draw")
    plan = model.plan(image, question, ratio, method)
    image = model.shown(image, plan)
    rows, grid = model.encode(image)
    tokens = ImageTokens(rows, grid, None, plan.retained)
    if recipe.uses_query and scope == "question":
        tokens = replace(tokens, query=model.query(question), states=model.states(question))
    mean = None if tokens.query is None else model.text_mean
    (selection,) = reduce([tokens], selects, text_mean=mean)
    return Explanation(image, question, grid, selection)


def main(options: argparse.Namespace) -> int:
    """The command `explain`. Returns the exit status."""
    try:
        panels = panels_of(options.panels)
        with Image.open(options.image) as file:
            image = file.convert("RGB")
        found = explain(
            VisionModel(options.model),
            image,
            options.question,
            options.keep_ratio,
            options.method,
            options.focus_scope,
        )
    except (InvalidField, OSError, UnidentifiedImageError, ValueError) as problem:
        print(problem, file=sys.stderr)
        return 1
    options.out.parent.mkdir(parents=True, exist_ok=True)
    found.draw(panels).save(options.out, optimize=True)
    print(f"{options.out}: {found.caption}")
    return 0
