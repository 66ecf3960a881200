"""Faults put into an engine that runs on V2, so that a test can see the comparison fail.

They go through vLLM's classes and hooks, not through ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final


def leave_rows_unplaced(_: Any) -> None:
    """The columns are cut off the rows, but no position is worked out from them."""
    from vllm.v1.worker.gpu.model_states.mm_pruning import MultiModalPruner

    MultiModalPruner.recompute = lambda self, rows, batch, states: self.strip(rows)


def move_answers_by_one(_: Any) -> None:
    """The answer's tokens stand one position too far."""
    from vllm.v1.worker.gpu.mm.rope import RopeState

    upstream = RopeState.update_prefill_positions
    RopeState.update_prefill_positions = lambda self, request, positions, delta: upstream(
        self, request, positions, delta + 1
    )


def forget_where_the_chunk_starts(llm: Any) -> None:
    """Rows are placed as if nothing of the prompt had been computed before this step."""

    def forget(model: Any) -> None:
        hook = model.recompute_mrope_positions
        model.recompute_mrope_positions = lambda **given: hook(**given | {"num_computed_tokens": 0})

    llm.apply_model(forget)


FAULTS: Final[Mapping[str, Callable[[Any], None]]] = {
    "rows unplaced": leave_rows_unplaced,
    "answers moved by one": move_answers_by_one,
    "chunk start forgotten": forget_where_the_chunk_starts,
}
"""By name; each takes the `LLM`, with engine core and worker in this process."""
