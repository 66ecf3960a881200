"""The placeholders of an image in the prompt: as many as rows are kept of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from vllm.multimodal.processing import PromptReplacement, PromptUpdate

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
        if len(content) != plan.encoded:
            raise RowCountError(f"image has {len(content)} placeholders, but was planned with {plan.encoded}")
        return content[: plan.retained]

    return replace(update, replacement=replacement)
