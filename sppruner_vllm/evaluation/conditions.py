"""What is compared: a selection method at a keep ratio, and the full image as the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sppruner_vllm.reading.captions import USUAL_DEPTH
from sppruner_vllm.recipes import get_recipe, request_methods
from sppruner_vllm.reduction import BUILTIN_METHODS, get_method

DEFAULT_METHODS: Final = (*BUILTIN_METHODS, "downscale", "hybrid")
DEFAULT_RATIOS: Final = (0.333, 0.222, 0.111, 0.056)


@dataclass(frozen=True, slots=True)
class Condition:
    """A method at a keep ratio in (0, 1]. method: its name, for the bare backend also as `reading` takes it."""

    method: str
    ratio: float

    def __str__(self) -> str:
        return f"{self.method} at {self.ratio:g}"


WORDS: Final = "words"
"""Behind a method, as in `focus_context:words`: the question is heard by its word embeddings alone."""

RENUMBERED: Final = "renumbered"
"""Behind a method, as in `dpp:renumbered`: kept tokens get positions one behind the other, and text goes on there."""


def renumbered(method: str) -> bool:
    """Whether kept tokens lose the positions that they had in the whole prompt."""
    return method.partition(":")[2] == RENUMBERED


def reading(method: str) -> tuple[str, float]:
    """A method's own name, and the share of the language model's layers that reads the question for it.

    One that hears both, such as `focus_context`, has the question's words beside what these layers read.

    Args:
        method: a name, or as in `dpp:0.3` one with that share behind it, or with WORDS or RENUMBERED.

    Returns:
        Name and share, the usual one where none stands there; 0 where the question steers by its word embeddings.

    Raises:
        ValueError: the share is no number above 0 and below 1.
    """
    name, marked, share = method.partition(":")
    if share == WORDS:
        return name, 0.0
    if not marked or share == RENUMBERED:
        return name, USUAL_DEPTH if _hears_states(name) else 0.0
    depth = float(share)
    if not 0 < depth < 1:
        raise ValueError(f"the share of layers behind a method must be above 0 and below 1, got {method}")
    return name, depth


def _hears_states(name: str) -> bool:
    selects = get_recipe(name).selects if name in request_methods() else None
    return selects is not None and get_method(selects).hears_states


FULL: Final = Condition("full", 1.0)
"""Every visual token: what all others are measured against. No method is named, for none has anything to do."""


def conditions(methods: Sequence[str], ratios: Sequence[float]) -> list[Condition]:
    """FULL, then every method at every ratio below 1, each once.

    Raises:
        ValueError: a ratio out of range.
    """
    for ratio in ratios:
        if not 0 < ratio <= 1:
            raise ValueError(f"a keep ratio must be in (0, 1], got {ratio:g}")
    pairs = [Condition(method, ratio) for ratio in sorted(set(ratios), reverse=True) if ratio < 1 for method in methods]
    return [FULL, *dict.fromkeys(pairs)]
