"""What is known of a request's pictures before they are encoded, for whoever wants to be told what was kept of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from PIL import Image

from sppruner_vllm.reduction.pieces import Piece

from .plan import ReductionPlan
from .planner import Sent
from .smaller import Grid

ASKED_ABOUT: Final = "sppruner_asked_about"
"""Key of the engine input of a request that asked."""


@dataclass(frozen=True, slots=True)
class AskedAbout:
    """One picture.

    grid: visual tokens as it was sent. pieces: the grids that these are, where they are several.
    picture: its pixels; None where it came without any.
    """

    plan: ReductionPlan
    grid: Grid
    pieces: tuple[Piece, ...]
    picture: Image.Image | None

    @property
    def selected(self) -> bool:
        """Whether a worker selects among its rows."""
        return any(stage.where == "rows" and stage.budget < self.plan.encoded for stage in self.plan.stages)

    @property
    def shown(self) -> Grid:
        """The visual tokens that the encoder gives: those of the smaller picture, where one is sent."""
        return self.grid if self.plan.resized is None else self.plan.resized


def asked_about(plans: Sequence[ReductionPlan], sent: Sequence[Sent], items: Any) -> tuple[AskedAbout, ...]:
    """The pictures of a request.

    Args:
        plans, sent: of each. items: as vLLM's parser holds them, None for no picture.
    """
    pictures = [items.get(place) for place in range(len(plans))] if plans else []
    return tuple(
        AskedAbout(plan, image.grid, image.pieces, picture if isinstance(picture, Image.Image) else None)
        for plan, image, picture in zip(plans, sent, pictures, strict=True)
    )
