"""Whether a reduction takes less time than it saves, from what a worker measured when it started."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .plan import ReductionPlan


@dataclass(frozen=True, slots=True)
class Parts:
    """What the parts of a prefill take, in seconds.

    method: the selection method that was measured.
    prefill: of one more prompt token in the language model, attention left out.
    image, row, pair: selecting K of an image's N rows takes image + N * row + N * K * pair.
    """

    method: str
    prefill: float
    image: float
    row: float
    pair: float

    def selection(self, rows: int, kept: int) -> float:
        """Seconds to select among the rows of one image."""
        return self.image + rows * self.row + rows * kept * self.pair

    def pay(self, plan: ReductionPlan, pieces: Sequence[int] = ()) -> bool:
        """Whether a plan's selection takes less than the prompt tokens that it spares.

        A plan of which not all is known pays: another method, or a stage that spares the encoder work too. Whether
        repeats spare any is not known before their pixels are, and counts as no.

        Args:
            pieces: tokens of each grid of the image, where they are several; each is selected from by itself.
        """
        stages = [stage for stage in plan.stages if stage.where != "entry"]
        (stage,) = stages if len(stages) == 1 else (None,)
        if stage is None or stage.where != "rows" or stage.method != self.method:
            return True
        sizes = pieces or [plan.encoded]
        takes = sum(self.selection(size, plan.retained * size // sum(sizes)) for size in sizes)
        return takes < (plan.original - plan.retained) * self.prefill


def fitted(method: str, prefill: float, timed: dict[tuple[int, int], float]) -> Parts:
    """The parts from three timed selections.

    Args:
        method: what selected. prefill: seconds of one more prompt token.
        timed: seconds by (rows, kept): of a small image, and twice of a larger one, first with fewer kept.

    Raises:
        ValueError: more prompt tokens took no longer, so that it is not known what one takes.
    """
    if prefill <= 0:
        raise ValueError("a longer prompt took no longer than a shorter one")
    (small, few), (rows, less), (_, more) = timed
    first, second, third = timed.values()
    pair = max(0.0, (third - second) / (rows * (more - less)))
    row = max(0.0, (second - first - pair * (rows * less - small * few)) / (rows - small))
    return Parts(method, prefill, max(0.0, first - small * row - small * few * pair), row, pair)
