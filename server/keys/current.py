"""The key of the request being served, and what it lets that request do.

A context variable carries it, as with request/record.py.
"""

from __future__ import annotations

from contextvars import ContextVar

from sppruner_vllm.request import ANY_RATIO, RATIO_BOUNDS
from sppruner_vllm.settings import Settings, settings

from .key import Key

_current: ContextVar[Key | None] = ContextVar("sppruner_key", default=None)


def use_key(key: Key) -> None:
    """Let the key be that of the request which this task serves."""
    _current.set(key)


def current_key() -> Key | None:
    """The key of the request this task serves; None without keys, and for routes that ask for none."""
    return _current.get()


def limits_in_force() -> Settings:
    """The operator's settings as they are for the request this task serves."""
    key = current_key()
    return settings() if key is None else key.within(settings())


def bounds_in_force() -> dict[str, object]:
    """The bounds of the request's key as a processor kwarg, which outlives copies of the kwargs; empty without any."""
    key = current_key()
    return {} if key is None or key.bounds == ANY_RATIO else {RATIO_BOUNDS: key.bounds}
