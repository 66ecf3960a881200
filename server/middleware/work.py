"""Which requests are work: those that may cost the engine, or the rendering of a prompt, something."""

from __future__ import annotations

from typing import Final

from starlette._utils import get_route_path
from starlette.types import Scope

from .authentication import METRICS, PROBES

_CHEAP: Final = ("GET", "HEAD", "OPTIONS")


def is_work(scope: Scope) -> bool:
    """Whether limits on the number of requests hold for it: anything but a look at what is there.

    A WebSocket is work. Probes and /metrics never are: under load they matter most.
    """
    if scope["type"] != "http":
        return bool(scope["type"] == "websocket")
    return scope["method"] not in _CHEAP and get_route_path(scope) not in PROBES | {METRICS}
