"""Asks the workers which visual tokens they kept, for requests that want to be told.

As soon as the engine begins to answer: by then every picture of the prompt was selected for, and what a worker
remembers of it has not had to wait for the rest of the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from functools import wraps
from typing import Any

from sppruner_vllm.told import TELL, Told

from ..request.record import RequestRecord, current_record

Generate = Callable[..., AsyncGenerator[Any, None]]


def asking_workers(generate: Generate, engine_core: Any) -> Generate:
    """vLLM's `AsyncLLM.generate`, bound, which has the record of a request know what was kept of its pictures.

    Args:
        engine_core: vLLM's client of the engines.
    """

    @wraps(generate)
    def generate_telling(prompt: Any, *args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
        outputs = generate(prompt, *args, **kwargs)
        record = current_record()
        return outputs if record is None or record.telling is None else _told(outputs, record, engine_core)

    return generate_telling


async def _told(
    outputs: AsyncGenerator[Any, None], record: RequestRecord, engine_core: Any
) -> AsyncGenerator[Any, None]:
    async with aclosing(outputs):
        async for output in outputs:
            if record.told is None and any(choice.token_ids for choice in output.outputs):
                record.told = asyncio.create_task(fetched(engine_core, names_of(record)))
            yield output


def names_of(record: RequestRecord) -> list[str]:
    """What the selections of a request are remembered under: of those pictures and videos that a worker selects for."""
    asked = record.telling
    if asked is None:
        return []
    pictures = [asked.name_of(i) for i, about in enumerate(record.asked_about) if about.selected]
    return [*pictures, *(name for frames in record.names_of_frames for name in frames)]


async def fetched(engine_core: Any, names: Sequence[str]) -> dict[str, Told]:
    """The selections of these names that a worker of any engine remembers.

    Args:
        engine_core: vLLM's client of the engines, which asks all of several and gives the answer of one.
    """
    if not names:
        return {}
    calls = (
        engine_core._call_utility_async("collective_rpc", TELL, None, (list(names),), None, engine=engine)
        for engine in engine_core.core_engines
    )
    answers = await asyncio.gather(*calls)
    return {
        name: Told.from_message(message)
        for workers in answers
        for worker in workers
        for name, message in worker.items()
    }
