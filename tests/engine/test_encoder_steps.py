"""What an engine encodes in one step, in tokens and pixels before anything is dropped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from cases import SQUARE, Case
from engines import ask

TOKENS = 144
"""Visual tokens of a SQUARE, unreduced."""

PATCHES = 4 * TOKENS


@dataclass
class Step:
    """pixels: rows of patches that came to the worker. calls: tokens of each call of upstream's encoder."""

    pixels: int = 0
    calls: list[int] = field(default_factory=list)


@contextmanager
def recorded_steps(llm: Any, model: Any) -> Iterator[list[Step]]:
    """The steps of the block that encode anything."""
    steps: list[Step] = []
    scheduler = llm.llm_engine.engine_core.engine_core.scheduler
    with pytest.MonkeyPatch.context() as patch:
        schedule, embed, upstream = scheduler.schedule, model.embed_multimodal, model._encoder._upstream

        def scheduling(*args: Any, **kwargs: Any) -> Any:
            steps.append(Step())
            return schedule(*args, **kwargs)

        def embedding(**inputs: Any) -> Any:
            steps[-1].pixels += len(inputs["pixel_values"])
            return embed(**inputs)

        def encoding(**inputs: Any) -> Any:
            rows = upstream(**inputs)
            steps[-1].calls.append(sum(map(len, rows)))
            return rows

        patch.setattr(scheduler, "schedule", scheduling)
        patch.setattr(model, "embed_multimodal", embedding)
        patch.setattr(model._encoder, "_upstream", encoding)
        yield steps
    steps[:] = [step for step in steps if step.pixels]


def questions(count: int, seed: int) -> list[Case]:
    return [Case(((f"question {n}", (SQUARE,)),), seed + n) for n in range(count)]


def test_32_pictures_at_a_twentieth_take_no_more_at_once_than_was_profiled(llm: Any, model: Any) -> None:
    scheduler = llm.llm_engine.engine_core.engine_core.scheduler
    profiled = scheduler.max_num_encoder_input_tokens
    pictures = 2 * (scheduler.max_num_scheduled_tokens // TOKENS)
    assert pictures >= 32
    with recorded_steps(llm, model) as steps:
        ask(llm, questions(pictures, 1000), 0.05, tokens=1)
    assert sum(step.pixels for step in steps) == pictures * PATCHES
    assert max(step.pixels for step in steps) <= 4 * (scheduler.max_num_scheduled_tokens + TOKENS)
    assert max(sum(step.calls) for step in steps) <= profiled


def test_reduced_pictures_share_steps_as_unreduced_ones_do(llm: Any, model: Any) -> None:
    scheduler = llm.llm_engine.engine_core.engine_core.scheduler
    pictures = 2 * (scheduler.max_num_scheduled_tokens // TOKENS)
    shared = {}
    for seed, ratio in ((2000, 1), (3000, 0.9), (4000, 0.1)):
        with recorded_steps(llm, model) as steps:
            ask(llm, questions(pictures, seed), ratio, tokens=1)
        shared[ratio] = [step.pixels // PATCHES for step in steps]
    assert shared[0.9] == shared[0.1] == shared[1]
