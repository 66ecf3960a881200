"""What a request is told that is in flight when its server ends."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from vllm.exceptions import GracefulHTTPError

from .refusal import Refusal

CUT_OFF: Final = Refusal(503, "shutting_down", "the server stopped before the answer was complete; send it again")
ENGINE_DEAD: Final = Refusal(500, "engine_dead", "the engine is gone; the server is about to stop")


class CutOff(GracefulHTTPError):
    """A request whose time was up. vLLM raises it, as it is, to whoever waits for the engine."""

    def __init__(self) -> None:
        super().__init__(CUT_OFF.message, HTTPStatus(CUT_OFF.status))
