"""Holds each key to its own rate and to its own number of requests in flight: a 429 that says when to come again."""

from __future__ import annotations

import math
from collections import Counter

from starlette.types import ASGIApp, Receive, Scope, Send

from ..errors.refusal import Refusal
from ..keys.current import current_key
from ..keys.key import Key
from ..keys.rates import SharedRates
from .refusing import refuse
from .work import is_work


class RateMiddleware:
    """Pure ASGI. Rates are those of all API processes; requests in flight are shared out among them."""

    def __init__(self, app: ASGIApp, rates: SharedRates, processes: int) -> None:
        self._app = app
        self._rates = rates
        self._processes = processes
        self._in_flight: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = current_key()
        if key is None or not is_work(scope):
            await self._app(scope, receive, send)
        elif (refusal := self._refusal(key)) is not None:
            await refuse(refusal, scope, receive, send)
        else:
            self._in_flight[key.sha256] += 1
            try:
                await self._app(scope, receive, send)
            finally:
                self._in_flight[key.sha256] -= 1
                self._in_flight += Counter()  # drops those at 0

    def _refusal(self, key: Key) -> Refusal | None:
        if key.max_in_flight is not None:
            share = math.ceil(key.max_in_flight / self._processes)
            if self._in_flight[key.sha256] >= share:
                return _too_many(f"this key may have {key.max_in_flight} requests in flight", 1.0)
        if key.requests_per_minute is not None and (wait := self._rates.wait(key.sha256, key.requests_per_minute)):
            return _too_many(f"this key may send {key.requests_per_minute:g} requests a minute", wait)
        return None


def _too_many(message: str, wait: float) -> Refusal:
    return Refusal(429, "rate_limit_exceeded", message, headers={"retry-after": str(max(1, math.ceil(wait)))})
