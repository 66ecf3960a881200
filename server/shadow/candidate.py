"""A request that is to be asked again: what is remembered of it until its answer has gone out, and no longer.

It rides on the engine input, as resend.py's way to render again does, and in the request's record.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Final

from vllm.sampling_params import RequestOutputKind

from sppruner_vllm.planning.accounting import VisualTokens

CANDIDATE: Final = "sppruner_shadow"
"""Key of the engine input of a request that is to be asked again."""

_WHOLE: Final = ("stop", "length")
_CARRIED: Final = ("lora_request", "reasoning_ended", "reasoning_parser_kwargs")
"""Arguments of the engine client's `generate` that decide the answer."""

Generate = Callable[..., AsyncGenerator[Any, None]]


@dataclass(slots=True)
class Candidate:
    """tokens: the request's visual tokens. render: the same request with every visual token, as an engine input.

    params, carried: what it was generated with. answer: token ids of its first choice so far. whole: it came to an end
    of its own.
    """

    tokens: VisualTokens
    render: Callable[[], Awaitable[Mapping[str, Any]]]
    params: Any = None
    carried: dict[str, Any] = field(default_factory=dict)
    answer: list[int] = field(default_factory=list)
    whole: bool = False

    def begin(self, params: Any, kwargs: Mapping[str, Any]) -> None:
        """The engine is asked, perhaps once more: what it said before does not count."""
        self.params = params
        self.carried = {name: kwargs[name] for name in _CARRIED if kwargs.get(name) is not None}
        self.answer, self.whole = [], False

    def observe(self, output: Any) -> None:
        """Take note of a RequestOutput."""
        for choice in output.outputs:
            if choice.index == 0:
                if self.params.output_kind != RequestOutputKind.DELTA:
                    self.answer.clear()
                self.answer.extend(choice.token_ids)
                self.whole = choice.finish_reason in _WHOLE


def remembering(generate: Generate) -> Generate:
    """vLLM's `AsyncLLM.generate`, bound, which tells a candidate what became of it."""

    @wraps(generate)
    def generate_remembered(prompt: Any, params: Any, *args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
        candidate = prompt.get(CANDIDATE) if isinstance(prompt, Mapping) else None
        outputs = generate(prompt, params, *args, **kwargs)
        if not isinstance(candidate, Candidate):
            return outputs
        candidate.begin(params, kwargs)
        return _remembered(outputs, candidate)

    return generate_remembered


async def _remembered(outputs: AsyncGenerator[Any, None], candidate: Candidate) -> AsyncGenerator[Any, None]:
    async with aclosing(outputs):
        async for output in outputs:
            candidate.observe(output)
            yield output
