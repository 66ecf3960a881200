"""The key of the request being served, and what it lets that request do.

A context variable carries it, as with request/record.py.
"""

from __future__ import annotations

from contextvars import ContextVar

from sppruner_vllm.request.handed_over import ANY_RATIO, DEFAULT_RATIO, RATIO_BOUNDS, DefaultRatio
from sppruner_vllm.settings import Settings, settings

from ..request.load import default_in_force
from ..request.record import current_record
from .key import Key

_current: ContextVar[Key | None] = ContextVar("sppruner_key", default=None)


def use_key(key: Key) -> None:
    """Let the key be that of the request which this task serves."""
    _current.set(key)


def current_key() -> Key | None:
    """The key of the request this task serves; None without keys, and for routes that ask for none."""
    return _current.get()


def limits_in_force() -> Settings:
    """The operator's settings as they are for the request this task serves: for its key, and under the load there was
    when it was first looked at, however often it is rendered.
    """
    record = current_record()
    if record is None:
        return _limits(default_in_force())
    if record.limits is None:
        record.limits = _limits(default_in_force())
    return record.limits


def default_has_slid() -> bool:
    """Whether load has changed the default ratio of the request this task serves."""
    return limits_in_force().keep_ratio != _limits(None).keep_ratio


def bounds_in_force() -> dict[str, object]:
    """What the request's key and the load make of the settings, as processor kwargs, which outlive copies of the
    kwargs; empty where neither changes anything.
    """
    held: dict[str, object] = {}
    if default_has_slid():
        held[DEFAULT_RATIO] = DefaultRatio(limits_in_force().keep_ratio)
    if (key := current_key()) is not None and key.bounds != ANY_RATIO:
        held[RATIO_BOUNDS] = key.bounds
    return held


def _limits(default: float | None) -> Settings:
    limits, key = settings() if default is None else settings().with_default(default), current_key()
    return limits if key is None else key.within(limits)
