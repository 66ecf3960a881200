"""Where a request passes from this process to the engine: up to there what goes wrong is the client's fault.

vLLM validates sampling parameters, and encodes the request for the engine, inside `generate`: for a stream that is
after its 200, and whatever is no error of vLLM's own becomes an EngineGenerateError, a 500.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from functools import wraps
from typing import Any, Final

from vllm.exceptions import VLLMClientError, VLLMValidationError

from ..errors.ended import CutOff
from ..errors.faults import UNREADABLE, is_servers
from ..errors.wording import sanitised
from ..request.attempt import note_accepted, note_failure

AddRequest = Callable[..., Awaitable[Any]]
Generate = Callable[..., AsyncGenerator[Any, None]]

DEAD_END: Final = "the grammar, schema or pattern that the answer must follow leaves no token that may come next"


def accepting(add_request: AddRequest) -> AddRequest:
    """vLLM's `AsyncLLM.add_request`, bound: what it raises is the client's unless it cannot be."""

    @wraps(add_request)
    async def add(*args: Any, **kwargs: Any) -> Any:
        try:
            queue = await add_request(*args, **kwargs)
        except Exception as exc:
            if isinstance(exc, VLLMClientError) or is_servers(exc):
                raise
            # Only what is vLLM's own leaves `generate` as it is.
            message = sanitised(exc) if isinstance(exc, ValueError) else UNREADABLE
            raise VLLMValidationError(message) from exc
        note_accepted()
        return queue

    return add


def withdrawing(send: AddRequest, abort: Callable[..., Awaitable[None]]) -> AddRequest:
    """vLLM's `EngineCoreClient.add_request_async`, bound, which forgets a request that could not be sent.

    Args:
        abort: vLLM's `AsyncLLM.abort`, bound. It has entered the request for its outputs by then, and would wait for
            them, and count it as running, for ever.
    """

    @wraps(send)
    async def send_or_forget(request: Any) -> None:
        try:
            await send(request)
        except Exception as exc:
            if not is_servers(exc):
                with suppress(Exception):
                    await abort(request.request_id, internal=True)
            raise

    return send_or_forget


def telling(generate: Generate, *, dead_ends: bool, stops: Callable[[], bool]) -> Generate:
    """vLLM's `AsyncLLM.generate`, bound, with what it raises noted: vLLM's streams make an event of it, in which a
    number is all that tells one failure from another.

    Args:
        dead_ends: whether a structured answer that the engine gives up is the client's fault, who wanted a grammar that
            nothing can follow. It then finishes with the reason `error` and no word, as it does when a KV connector
            fails to load blocks; so this is for an engine without one.
        stops: whether the server is about to end. What the engine gives up then, as it does with a request that
            reaches it too late, is an error and no short answer.
    """

    @wraps(generate)
    def told(prompt: Any, sampling_params: Any, *args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
        structured = getattr(sampling_params, "structured_outputs", None) is not None
        return _told(generate(prompt, sampling_params, *args, **kwargs), dead_ends and structured, stops)

    return told


async def _told(
    outputs: AsyncGenerator[Any, None], dead_ends: bool, stops: Callable[[], bool]
) -> AsyncGenerator[Any, None]:
    async with aclosing(outputs):
        try:
            async for output in outputs:
                if dead_ends and any(choice.finish_reason == "error" for choice in output.outputs):
                    raise VLLMValidationError(DEAD_END, parameter="response_format")
                if any(choice.finish_reason == "abort" for choice in output.outputs) and stops():
                    raise CutOff
                yield output
        except Exception as exc:
            note_failure(exc)
            raise
