"""What was reduced, told to whoever serves the request.

The processor leaves one record per image beside vLLM's own engine input; the server turns the sum into `usage` and
headers. A plain dict key is used because vLLM's input types are TypedDicts that travel to the handler unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, cast

from .config import ReductionPlan, ReductionRequest

ENGINE_INPUT_KEY: Final = "sppruner"


@dataclass(frozen=True, slots=True)
class VisualTokens:
    """Visual tokens of one request, summed over its images.

    original, retained: counts before and after the reduction.
    keep_ratio: the ratio in force; for an absolute budget, the ratio it came to.
    skipped_reason: why nothing was reduced, None when any image was.
    """

    original: int
    retained: int
    keep_ratio: float
    method: str
    skipped_reason: str | None

    def as_usage(self) -> dict[str, Any]:
        """The object `visual_tokens` of a response's usage."""
        return asdict(self)


def account(plans: Sequence[ReductionPlan], request: ReductionRequest) -> VisualTokens | None:
    """The record for a request's images; None when it has none."""
    if not plans:
        return None
    original = sum(plan.original for plan in plans)
    retained = sum(plan.retained for plan in plans)
    reasons = [plan.skipped_reason for plan in plans]
    return VisualTokens(
        original=original,
        retained=retained,
        keep_ratio=request.keep_ratio if request.keep_tokens is None else round(retained / original, 6),
        method=request.method,
        skipped_reason=None if None in reasons else reasons[0],
    )


def visual_tokens_of(engine_input: Mapping[str, object]) -> VisualTokens | None:
    """The record the processor left in an engine input; None for a request without images."""
    return cast("VisualTokens | None", engine_input.get(ENGINE_INPUT_KEY))
