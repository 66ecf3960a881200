"""The placeholders of an image in the prompt: as many as rows are kept of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from vllm.multimodal.processing import PromptReplacement, PromptUpdate, PromptUpdateDetails

from sppruner_vllm.errors import RowCountError
from sppruner_vllm.planning.plan import ReductionPlan


def shortened(update: PromptUpdate, plans: Sequence[ReductionPlan]) -> PromptUpdate:
    """vLLM's own replacement for the images of a prompt, cut to what is kept of each.

    Raises, once vLLM asks for it:
        RowCountError: vLLM makes another number of them than was planned with.
    """
    full = cast("PromptReplacement", update).replacement

    def replacement(index: int) -> Any:
        content: Any = full(index) if callable(full) else full
        plan = plans[index]
        ids = content.full if isinstance(content, PromptUpdateDetails) else content
        rows = _places_of_rows(content)
        if len(rows) != plan.encoded:
            raise RowCountError(f"image has {len(rows)} placeholders, but was planned with {plan.encoded}")
        spare = set(rows[plan.retained :])
        kept = [token for place, token in enumerate(ids) if place not in spare]
        return replace(content, full=kept) if isinstance(content, PromptUpdateDetails) else kept

    return replace(update, replacement=replacement)


def _places_of_rows(content: list[int] | PromptUpdateDetails) -> Sequence[int]:
    """Which tokens of a replacement stand for rows; around them it may have others."""
    if isinstance(content, PromptUpdateDetails) and content.is_embed is not None:
        found: list[int] = content.is_embed(content.full).nonzero().flatten().tolist()
        return found
    return range(len(content.full if isinstance(content, PromptUpdateDetails) else content))
