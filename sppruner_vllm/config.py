"""Settings of the operator, fields of a request, and the plan for one image.

Everything a request may say about reduction is checked here, once, for the server, for `LLM.chat` and for any other
way into the engine. No vLLM and no torch: the server and the tests import it freely.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from .errors import InvalidField

ALGORITHM_VERSION: Final = 3
"""Part of every reduced image's identity: raise it when the same plan would select other tokens."""

KEEP_RATIO: Final = "keep_ratio"
KEEP_TOKENS: Final = "keep_tokens"
FOCUS_QUERY: Final = "focus_query"
REDUCTION_METHOD: Final = "reduction_method"
REQUEST_FIELDS: Final = (KEEP_RATIO, KEEP_TOKENS, FOCUS_QUERY, REDUCTION_METHOD)

SkippedReason = Literal["keep_ratio_is_1", "image_too_small", "unsupported_input"]

MAX_FOCUS_QUERY_CHARS: Final = 4096


class Settings(BaseSettings):
    """What the operator decides. Each field is read from the environment as SPPRUNER_<NAME>.

    The environment reaches every process vLLM starts; flags of the server only set these variables.
    """

    model_config = SettingsConfigDict(env_prefix="SPPRUNER_", frozen=True)

    keep_ratio: float = Field(1.0, gt=0, le=1, description="Fraction of visual tokens kept when a request names none.")
    # vLLM's scheduler budgets encoder work by retained tokens, so this bounds the pixels that one step brings along.
    min_keep_ratio: float = Field(0.05, ge=0, le=1, description="Smallest keep ratio a request may ask for.")
    max_keep_ratio: float = Field(1.0, gt=0, le=1, description="Largest keep ratio a request may ask for.")
    min_tokens: int = Field(2, ge=2, description="Fewest visual tokens an image keeps.")
    method: str = Field("focus_context", description="Reduction method when a request names none.")
    saliency_attention: bool = Field(
        False, description="Let methods see which patches the encoder's last full-attention block looks at."
    )
    allow_method: bool = Field(False, description="Let requests choose `reduction_method`.")
    max_query_tokens: int = Field(128, ge=1, description="Longest query, in tokens, that steers the selection.")

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Settings:
        if not self.min_keep_ratio <= self.keep_ratio <= self.max_keep_ratio:
            raise ValueError("settings must satisfy min_keep_ratio <= keep_ratio <= max_keep_ratio")
        return self


@cache
def settings() -> Settings:
    """The settings of this process, read once."""
    return Settings()


@dataclass(frozen=True, slots=True)
class ReductionRequest:
    """What one request asks for, validated; the same for all its images.

    keep_ratio: fraction in (0, 1]. keep_tokens: absolute budget per image, which wins over the ratio when set.
    focus_query: text that replaces the user turn as the query; None leaves the turn in force.
    """

    keep_ratio: float
    keep_tokens: int | None
    focus_query: str | None
    method: str

    @property
    def keeps_all(self) -> bool:
        return self.keep_tokens is None and self.keep_ratio == 1


@dataclass(frozen=True, slots=True)
class ReductionPlan:
    """The decision for one image, taken before it is encoded.

    original, retained: visual tokens as sent and in the prompt, 1 <= retained <= original.
    query_ids: token ids of the query, empty when the selection does not look at one.
    skipped_reason: why nothing is reduced, None when something is.
    resized: (height, width) in visual tokens of the smaller image that is encoded instead; None when there is none.
    """

    original: int
    retained: int
    method: str
    query_ids: tuple[int, ...]
    skipped_reason: SkippedReason | None
    resized: tuple[int, int] | None = None

    @property
    def reduces(self) -> bool:
        return self.retained < self.original

    @property
    def encoded(self) -> int:
        """Visual tokens that the encoder gives, before the worker drops any."""
        return self.original if self.resized is None else math.prod(self.resized)


def validate_keep_ratio(value: object) -> float:
    """A keep ratio as a float in (0, 1].

    Raises:
        InvalidField: not a number (bool counts as none), not finite, or out of range.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidField(KEEP_RATIO, f"keep_ratio must be a number in (0, 1], got {type(value).__name__}")
    if not 0 < value <= 1:
        raise InvalidField(KEEP_RATIO, f"keep_ratio must be in (0, 1], got {reprlib.repr(value)}")
    return float(value)


def validate_request(fields: Mapping[str, object], limits: Settings, methods: frozenset[str]) -> ReductionRequest:
    """The request's reduction fields, checked against the operator's limits.

    Args:
        fields: any of REQUEST_FIELDS; a missing or None entry means "the operator's default".
        limits: the operator's settings.
        methods: names that `reduction_method` may take.

    Raises:
        InvalidField: names the field that must change.
    """
    ratio, tokens = fields.get(KEEP_RATIO), fields.get(KEEP_TOKENS)
    if ratio is not None and tokens is not None:
        raise InvalidField(KEEP_TOKENS, "keep_tokens and keep_ratio exclude each other", code="unsupported_parameter")
    keep_ratio = limits.keep_ratio if ratio is None else validate_keep_ratio(ratio)
    if not limits.min_keep_ratio <= keep_ratio <= limits.max_keep_ratio:
        raise InvalidField(
            KEEP_RATIO,
            f"keep_ratio must be between {limits.min_keep_ratio} and {limits.max_keep_ratio} on this server, "
            f"got {keep_ratio}",
        )
    return ReductionRequest(
        keep_ratio=keep_ratio,
        keep_tokens=None if tokens is None else _validate_keep_tokens(tokens, limits),
        focus_query=_validate_focus_query(fields.get(FOCUS_QUERY)),
        method=_validate_method(fields.get(REDUCTION_METHOD), limits, methods),
    )


def _validate_keep_tokens(value: object, limits: Settings) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < limits.min_tokens:
        raise InvalidField(KEEP_TOKENS, f"keep_tokens must be an integer of at least {limits.min_tokens}")
    return value


def _validate_focus_query(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > MAX_FOCUS_QUERY_CHARS:
        raise InvalidField(FOCUS_QUERY, f"focus_query must be a string of at most {MAX_FOCUS_QUERY_CHARS} characters")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise InvalidField(FOCUS_QUERY, "focus_query must be valid Unicode text")
    return value


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


def retained_tokens(total: int, keep_ratio: float, *, floor: int = 2) -> int:
    """Number of visual tokens an image keeps.

    Rounds up, so that a ratio never keeps less than it says, and never goes below `floor`: position recovery needs two
    tokens to tell neighbouring images apart (docs/algorithm.md, "Positions").

    Args:
        total: visual tokens after the encoder's spatial merge, at least 1.
        keep_ratio: fraction in (0, 1]; already validated.
        floor: fewest tokens any image keeps.

    Returns:
        Count in [min(floor, total), total].
    """
    return min(total, max(floor, math.ceil(total * keep_ratio - 1e-9)))


def plan_image(original: int, request: ReductionRequest, query_ids: tuple[int, ...], limits: Settings) -> ReductionPlan:
    """The plan for an image of `original` visual tokens.

    An absolute budget is held within the operator's ratio bounds, so that it opens no way around them.

    Args:
        original: visual tokens of the unreduced image, at least 1.
        request: validated request fields.
        query_ids: query tokens of this image; dropped when nothing is reduced.
        limits: the operator's settings.
    """
    floor = limits.min_tokens
    if request.keep_tokens is None:
        retained = retained_tokens(original, request.keep_ratio, floor=floor)
    else:
        least = retained_tokens(original, limits.min_keep_ratio, floor=floor)
        most = retained_tokens(original, limits.max_keep_ratio, floor=floor)
        retained = min(most, max(least, request.keep_tokens))
    if retained < original:
        return ReductionPlan(original, retained, request.method, query_ids, None)
    return unreduced(original, request, "keep_ratio_is_1" if request.keeps_all else "image_too_small")


def unreduced(original: int, request: ReductionRequest, reason: SkippedReason) -> ReductionPlan:
    """The plan that keeps every token, and why."""
    return ReductionPlan(original, original, request.method, (), reason)
