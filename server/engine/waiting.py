"""Tells the load of each request that waits for its first token: a wrapper of the engine client's `generate`.

vLLM's own count of its waiting queue reaches one API process of several, and only where statistics are on.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import wraps
from typing import Any

from ..request.load import Load

Generate = Callable[..., AsyncGenerator[Any, None]]


def waiting(generate: Generate, load: Load) -> Generate:
    """vLLM's `AsyncLLM.generate`, bound, whose requests count as waiting until they have a token."""

    @wraps(generate)
    def counted(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
        return _counted(generate(*args, **kwargs), load)

    return counted


async def _counted(outputs: AsyncGenerator[Any, None], load: Load) -> AsyncGenerator[Any, None]:
    waits = True
    load.enter()
    try:
        async with aclosing(outputs):
            async for output in outputs:
                if waits and any(choice.token_ids for choice in output.outputs):
                    waits = False
                    load.leave()
                yield output
    finally:
        if waits:
            load.leave()
