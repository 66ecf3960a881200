"""The one place where a request's reduction fields are admitted, wherever the request comes in.

A route of ours, the renderer behind vLLM's other routes, the processor behind `LLM.chat`: whoever meets a request first
admits it, and what the fields came to travels with them, so that the later ones need not look again.
"""

from __future__ import annotations

from collections.abc import Mapping

from .recipes import request_methods
from .request.asked import ReductionRequest
from .request.checking import validate_request
from .request.handed_over import DEFAULT_RATIO, RATIO_BOUNDS, DefaultRatio, RatioBounds
from .settings import Settings, settings


class Admitted(dict[str, object]):
    """Processor kwargs whose reduction fields were admitted.

    A dict, as vLLM wants it, that no client can send: JSON makes plain dicts. Where vLLM copies it into one of those,
    the fields are still there and are admitted anew.

    request: what the fields ask for.
    """

    __slots__ = ("request",)

    def __init__(self, kwargs: Mapping[str, object], request: ReductionRequest) -> None:
        super().__init__(kwargs)
        self.request = request


def admit(kwargs: Mapping[str, object], limits: Settings | None = None) -> Admitted:
    """The kwargs, their reduction fields checked against the operator's settings; admitted ones as they are.

    Args:
        kwargs: any of REQUEST_FIELDS, which a missing or None entry leaves to the operator; others are not looked at.
        limits: the settings as they are for whoever asks; None for the operator's own.

    Raises:
        InvalidField: names the field that must change.
    """
    if isinstance(kwargs, Admitted):
        return kwargs
    limits = limits or settings()
    if isinstance(default := kwargs.get(DEFAULT_RATIO), DefaultRatio):
        limits = limits.with_default(default.ratio)
    if isinstance(bounds := kwargs.get(RATIO_BOUNDS), RatioBounds):
        limits = limits.narrowed(*bounds)
    return Admitted(kwargs, validate_request(kwargs, limits, request_methods()))
