"""Asks a share of the reduced requests again, once their answers have gone out, when nobody else wants the server.

Through the engine client and not by HTTP: no place of a client's is taken, no rate is charged, and what the request
said is nowhere but in this process's memory, for as long as it takes. One is asked at a time in each process.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, Final, Protocol

from vllm.logger import init_logger

from sppruner_vllm.metrics.events import count_shadow, count_shadow_given_up
from sppruner_vllm.metrics.labels import GivenUp
from sppruner_vllm.planning.accounting import VisualTokens

from .candidate import CANDIDATE, Candidate
from .cap import HourlyCap
from .comparison import asked_again, compare, is_greedy

LAST: Final = 2**20
"""Priority behind everyone's, where the engine schedules by priority."""

logger = init_logger("vllm.sppruner.shadow")


class Requests(Protocol):
    """The requests in flight of a process, see `lifecycle.drain.InFlight`. refusal: set once the server stops."""

    refusal: Any

    @property
    def count(self) -> int: ...

    def watch(self, watcher: Callable[[], None]) -> None: ...


class Shadow:
    """Of one API process."""

    def __init__(
        self,
        generate: Callable[..., AsyncGenerator[Any, None]],
        requests: Requests,
        cap: HourlyCap,
        *,
        share: float,
        most_in_flight: int,
        most_logprobs: int,
        by_priority: bool,
    ) -> None:
        """
        Args:
            generate: the engine client's own, which nobody watches.
            requests: in flight in this process.
            cap: on how many are asked.
            share: of the reduced requests, in (0, 1].
            most_in_flight: more requests than this make the server busy.
            most_logprobs: vLLM's limit, -1 for none.
            by_priority: whether the engine schedules by priority.
        """
        self._generate, self._requests, self._cap = generate, requests, cap
        self._share, self._most, self._most_logprobs = share, most_in_flight, most_logprobs
        self._priority = LAST if by_priority else 0
        self._dice = random.SystemRandom()
        self._task: asyncio.Task[None] | None = None
        self._began = False
        requests.watch(self._look)

    def choose(self, engine_input: Any, tokens: VisualTokens, render: Callable[[], Any]) -> Candidate | None:
        """Whether a request is to be asked again: a reduced one, by chance.

        Args:
            engine_input: of the request; a candidate is left in it.
            tokens: its visual tokens.
            render: the same request with every visual token.
        """
        if tokens.retained >= tokens.original or self._dice.random() >= self._share:
            return None
        candidate = Candidate(tokens, render)
        engine_input[CANDIDATE] = candidate
        return candidate

    def ask(self, candidate: Candidate) -> None:
        """Ask again, unless the answer was cut short; to be called when it has gone out. Returns at once."""
        if not candidate.whole or not candidate.answer:
            return
        if self._task is not None:
            count_shadow_given_up("busy")
            return
        loop = asyncio.get_running_loop()
        # Nothing of the request's context goes along: its record, its key, its span.
        self._task = loop.create_task(self._asked(candidate), context=contextvars.Context())

    def _in_the_way(self) -> GivenUp | None:
        if self._requests.refusal is not None:
            return "draining"
        return "busy" if self._requests.count > self._most else None

    def _look(self) -> None:
        """A request came in, or the server began to stop."""
        if self._began and self._task is not None and self._in_the_way() is not None:
            self._task.cancel()

    async def _asked(self, candidate: Candidate) -> None:
        # Here and not in `ask`: by now the request itself has left those in flight.
        try:
            if reason := self._in_the_way():
                count_shadow_given_up(reason)
            elif not self._cap.is_open:
                count_shadow_given_up("hourly_cap")
            else:
                self._cap.take()
                self._began = True
                await self._compared(candidate)
        except asyncio.CancelledError:
            count_shadow_given_up(self._in_the_way() or "busy")
        except Exception as exc:
            # The request's own text may be in the message.
            logger.warning("a request could not be asked again: %s", type(exc).__name__)
            count_shadow_given_up("failed")
        finally:
            self._task, self._began = None, False

    async def _compared(self, candidate: Candidate) -> None:
        params = asked_again(candidate.params, candidate.answer, self._most_logprobs)
        prompt = await candidate.render()
        name = f"sppruner-shadow-{uuid.uuid4().hex}"
        final: Any = None
        outputs = self._generate(prompt, params, name, priority=self._priority, **candidate.carried)
        async with aclosing(outputs):
            async for output in outputs:
                final = output
        choice = final.outputs[0]
        if choice.finish_reason not in ("stop", "length"):
            raise RuntimeError("the engine gave it up")
        agreement = compare(candidate.answer, choice.token_ids, choice.logprobs)
        count_shadow(candidate.tokens, same=agreement.same, gap=agreement.gap, greedy=is_greedy(candidate.params))
