"""Watches what the engine answers to the requests of our routes: the first token, the output, what a prompt saved.

A wrapper of the engine client's `generate`, put there by hooks.py, so that streams and whole answers are counted alike.
Requests of other routes and prompts without images pass untouched.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing
from functools import wraps
from typing import Any

from vllm.sampling_params import RequestOutputKind

from sppruner_vllm.metrics.events import count_output, count_prefill, observe_first_token
from sppruner_vllm.planning.accounting import VisualTokens, visual_tokens_of

from ..request.record import RequestRecord, current_record
from ..tracing import engine_trace_headers

Generate = Callable[..., AsyncGenerator[Any, None]]


def watched(generate: Generate) -> Generate:
    """vLLM's `AsyncLLM.generate`, bound, with what it yields watched."""

    @wraps(generate)
    def generate_watched(prompt: Any, sampling_params: Any, *args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
        record = current_record()
        if record is not None and (headers := engine_trace_headers()) is not None:
            kwargs["trace_headers"] = headers
        outputs = generate(prompt, sampling_params, *args, **kwargs)
        tokens = visual_tokens_of(prompt) if isinstance(prompt, Mapping) else None
        if record is None or tokens is None or tokens.original == 0:
            return outputs
        places = [(place.offset, place.length) for place in prompt["mm_placeholders"].get("image", ())]
        delta = sampling_params.output_kind == RequestOutputKind.DELTA
        return _observed(outputs, Answer(record, tokens, places, delta=delta))

    return generate_watched


async def _observed(outputs: AsyncGenerator[Any, None], answer: Answer) -> AsyncGenerator[Any, None]:
    async with aclosing(outputs):
        try:
            async for output in outputs:
                answer.observe(output)
                yield output
        finally:
            answer.end()


class Answer:
    """The engine's answer to one prompt."""

    def __init__(
        self, record: RequestRecord, tokens: VisualTokens, places: list[tuple[int, int]], *, delta: bool
    ) -> None:
        """Args: places: offset and length of each image in the prompt. delta: outputs hold only what is new."""
        self._record = record
        self._tokens = tokens
        self._places = places
        self._delta = delta
        self._generated: dict[int, int] = {}

    def observe(self, output: Any) -> None:
        """Take note of a RequestOutput."""
        # A prompt that is rendered again after a tool call is still the client's one request.
        if not self._generated and any(self._tokens is account for account in self._record.accounts):
            self._begin(output)
        for choice in output.outputs:
            before = self._generated.get(choice.index, 0) if self._delta else 0
            if new := len(choice.token_ids):
                self._generated[choice.index] = before + new

    def end(self) -> None:
        """No further output comes, whatever the reason."""
        if self._generated:
            count_output(self._tokens, sum(self._generated.values()))

    def _begin(self, output: Any) -> None:
        if not any(choice.token_ids for choice in output.outputs):
            return
        count_prefill(self._tokens, uncached(self._places, output.num_cached_tokens or 0, self._tokens.retained))
        if (moment := _first_token_at(output)) is not None:
            observe_first_token(self._tokens, moment - self._record.arrived)


def _first_token_at(output: Any) -> float | None:
    """When the first token was there, in seconds since the epoch; None when no one knows any more."""
    if (stats := output.metrics) is not None and stats.first_token_latency > 0:
        return float(stats.arrival_time + stats.first_token_latency)
    return None if output.finished else time.time()


def uncached(places: Iterable[tuple[int, int]], cached: int, retained: int) -> int:
    """How many retained visual tokens a prompt had that the prefix cache did not hold.

    Args:
        places: offset and length of each image in the prompt.
        cached: tokens of the prompt, from its start, that the prefix cache held.
        retained: at most this many.
    """
    return min(retained, sum(max(0, min(length, offset + length - cached)) for offset, length in places))
