"""A request's fields held against the operator's limits, whichever way they came."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any, Final

from sppruner_vllm.errors import InvalidField
from sppruner_vllm.settings import FocusScope, Settings

from .asked import Ratio, ReductionRequest
from .fields import (
    AUTO,
    FOCUS_QUERY,
    FOCUS_SCOPE,
    FOCUS_SCOPES,
    KEEP_RATIO,
    KEEP_TOKENS,
    KEEP_TOKENS_TOTAL,
    MAX_FOCUS_QUERY_CHARS,
    MAX_PIXELS,
    REDUCTION_METHOD,
)
from .handed_over import RatioBounds


def validate_keep_ratio(value: object, name: str = KEEP_RATIO) -> float:
    """A keep ratio as a float in (0, 1].

    Args:
        value: of anywhere. name: how the message calls it.

    Raises:
        InvalidField: not a number (bool counts as none), not finite, or out of range.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InvalidField(KEEP_RATIO, f"{name} must be a number in (0, 1], got {type(value).__name__}")
    number: Any = value
    if not 0 < number <= 1:
        raise InvalidField(KEEP_RATIO, f"{name} must be in (0, 1], got {reprlib.repr(value)}")
    return float(number)


def validate_request(fields: Mapping[str, object], limits: Settings, methods: frozenset[str]) -> ReductionRequest:
    """The request's reduction fields, checked against the operator's limits.

    Args:
        fields: any of REQUEST_FIELDS; a missing or None entry means "the operator's default".
        limits: the operator's settings.
        methods: names that `reduction_method` may take.

    Raises:
        InvalidField: names the field that must change.
    """
    budgets = {name: fields[name] for name in _BUDGETS if fields.get(name) is not None}
    if len(budgets) > 1:
        one, other, *_ = budgets
        raise InvalidField(one, f"{one} and {other} exclude each other", code="unsupported_parameter")
    ratio, tokens, total = (budgets.get(name) for name in (KEEP_RATIO, KEEP_TOKENS, KEEP_TOKENS_TOTAL))
    several = isinstance(ratio, list | tuple)
    focus_query = _validate_focus_query(fields.get(FOCUS_QUERY))
    return ReductionRequest(
        keep_ratio=limits.keep_ratio
        if several or ratio in (None, AUTO)
        else _validate_within(ratio, KEEP_RATIO, limits),
        auto=ratio == AUTO,
        keep_tokens=None if tokens is None else _validate_tokens(tokens, KEEP_TOKENS, limits),
        focus_query=focus_query,
        method=_validate_method(fields.get(REDUCTION_METHOD), limits, methods),
        focus_scope=_validate_focus_scope(fields.get(FOCUS_SCOPE), focus_query, limits),
        insists=bool(budgets),
        bounds=RatioBounds(limits.min_keep_ratio, limits.max_keep_ratio),
        keep_ratios=_validate_ratios(ratio, limits) if isinstance(ratio, list | tuple) else None,
        max_pixels=_validate_pixels(fields.get(MAX_PIXELS)),
        keep_tokens_total=None if total is None else _validate_tokens(total, KEEP_TOKENS_TOTAL, limits),
    )


_BUDGETS: Final = (KEEP_TOKENS_TOTAL, KEEP_TOKENS, KEEP_RATIO)
"""Fields of which a request may have one; of two, the refusal names the one that stands first here."""


def _validate_ratios(values: Sequence[object], limits: Settings) -> tuple[Ratio | None, ...]:
    return tuple(
        None if value is None else AUTO if value == AUTO else _validate_within(value, f"{KEEP_RATIO}[{place}]", limits)
        for place, value in enumerate(values)
    )


def _validate_within(value: object, name: str, limits: Settings) -> float:
    ratio = validate_keep_ratio(value, name)
    if not limits.min_keep_ratio <= ratio <= limits.max_keep_ratio:
        raise InvalidField(
            KEEP_RATIO,
            f"{name} must be between {limits.min_keep_ratio} and {limits.max_keep_ratio} on this server, got {ratio}",
        )
    return ratio


def _validate_pixels(value: object) -> tuple[int | None, ...] | int | None:
    if isinstance(value, list | tuple):
        return tuple(
            None if pixels is None else _validate_count(pixels, MAX_PIXELS, f"{MAX_PIXELS}[{place}]", 1)
            for place, pixels in enumerate(value)
        )
    return None if value is None else _validate_count(value, MAX_PIXELS, MAX_PIXELS, 1)


def _validate_tokens(value: object, name: str, limits: Settings) -> int:
    return _validate_count(value, name, name, limits.min_tokens)


def _validate_count(value: object, field: str, name: str, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise InvalidField(field, f"{name} must be an integer of at least {least}")
    return int(value)


def _validate_focus_query(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > MAX_FOCUS_QUERY_CHARS:
        raise InvalidField(FOCUS_QUERY, f"focus_query must be a string of at most {MAX_FOCUS_QUERY_CHARS} characters")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise InvalidField(FOCUS_QUERY, "focus_query must be valid Unicode text")
    return value


def _validate_focus_scope(value: object, focus_query: str | None, limits: Settings) -> FocusScope:
    """A text that shall steer asks for a selection of its own, whatever the operator's default."""
    scope = next((known for known in FOCUS_SCOPES if known == value), None)
    if value is not None and scope is None:
        raise InvalidField(FOCUS_SCOPE, f"focus_scope must be one of {', '.join(FOCUS_SCOPES)}")
    if focus_query is None:
        return scope or limits.focus_scope
    if scope == "image":
        raise InvalidField(
            FOCUS_SCOPE,
            "focus_scope image and focus_query exclude each other: no text steers that selection",
            code="unsupported_parameter",
        )
    return "question"


def _validate_method(value: object, limits: Settings, methods: frozenset[str]) -> str:
    if value is None:
        return limits.method
    if not limits.allow_method:
        raise InvalidField(
            REDUCTION_METHOD, "reduction_method is not open to requests on this server", code="unsupported_parameter"
        )
    if not isinstance(value, str) or value not in methods:
        raise InvalidField(REDUCTION_METHOD, f"reduction_method must name a method, one of {sorted(methods)}")
    return value
