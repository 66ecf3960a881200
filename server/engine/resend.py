"""A request whose pictures the engine turns out not to have is rendered once more, and sent with them.

A rendering trusts that whoever brought a picture first has given it to the engine. That request may have been refused
or left since. vLLM (0.32 and 0.33, v1/engine/core.py, `_handle_mm_cache_miss`) tells so before any token and leaves the
repetition to the client, who would get a 500.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from functools import wraps
from typing import Any, Final

from vllm.logger import init_logger

AGAIN: Final = "sppruner_again"
"""Key of an engine input whose pictures were left out: renders it with all of them."""

logger = init_logger(__name__)

Generate = Callable[..., AsyncGenerator[Any, None]]
Again = Callable[[], Awaitable[Mapping[str, Any]]]


def lacks_pictures(engine_input: Mapping[str, Any]) -> bool:
    """Whether some picture was left out of an engine input because the engine should have it."""
    items: Mapping[str, Iterable[object]] = engine_input.get("mm_kwargs") or {}
    return any(item is None for kind in items.values() for item in kind)


def resending(generate: Generate) -> Generate:
    """vLLM's `AsyncLLM.generate`, bound, which sends a prompt again when the engine lacks its pictures."""

    @wraps(generate)
    def generate_again(prompt: Any, *args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
        again: Again | None = prompt.get(AGAIN) if isinstance(prompt, Mapping) else None
        if again is None:
            return generate(prompt, *args, **kwargs)
        return _resent(generate, prompt, again, args, kwargs)

    return generate_again


async def _resent(
    generate: Generate, prompt: Mapping[str, Any], again: Again, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> AsyncGenerator[Any, None]:
    async with aclosing(generate(prompt, *args, **kwargs)) as outputs:
        begun = False
        async for output in outputs:
            if not begun and _failed_at_once(output):
                failed = output
                break
            begun = True
            yield output
        else:
            return
    fresh = await again()
    if fresh.get("mm_hashes") != prompt["mm_hashes"]:
        yield failed  # the picture behind its URL has changed: what was counted of this request would not hold
        return
    logger.info("Sending request again with its pictures: the engine does not have them.")
    async with aclosing(generate({**prompt, "mm_kwargs": fresh["mm_kwargs"]}, *args, **kwargs)) as outputs:
        async for output in outputs:
            yield output


def _failed_at_once(output: Any) -> bool:
    return any(choice.finish_reason == "error" and not choice.token_ids for choice in output.outputs)
