"""What a request says about reduction, checked against the operator's limits.

Checked here, for the server, for `LLM.chat` and for any other way into the engine. No vLLM and no torch.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final, Literal, NamedTuple, get_args

from pydantic import BaseModel, Field, WithJsonSchema

from .errors import InvalidField
from .settings import FEWEST_TOKENS, FocusScope, Settings

KEEP_RATIO: Final = "keep_ratio"
KEEP_TOKENS: Final = "keep_tokens"
KEEP_TOKENS_TOTAL: Final = "keep_tokens_total"
MAX_PIXELS: Final = "max_pixels"
FOCUS_QUERY: Final = "focus_query"
FOCUS_SCOPE: Final = "focus_scope"
REDUCTION_METHOD: Final = "reduction_method"

AUTO: Final = "auto"
"""In place of a ratio: one that fits the picture."""

MAX_FOCUS_QUERY_CHARS: Final = 4096
FOCUS_SCOPES: Final[tuple[FocusScope, ...]] = get_args(FocusScope)


def _documented(*others: dict[str, object], **schema: object) -> Any:
    return WithJsonSchema({"anyOf": [schema, *others, {"type": "null"}]})


_RATIO: Final[dict[str, object]] = {"type": "number", "exclusiveMinimum": 0, "maximum": 1}
_PIXELS: Final[dict[str, object]] = {"type": "integer", "minimum": 1}
_LIMITS: Final[dict[str, object]] = {"type": "array", "items": {"anyOf": [_PIXELS, {"type": "null"}]}}
_AUTO: Final[dict[str, object]] = {"const": AUTO}
_RATIOS: Final[dict[str, object]] = {"type": "array", "items": {"anyOf": [_RATIO, _AUTO, {"type": "null"}]}}


class ReductionFields(BaseModel):
    """What a request may say about its images; a field left out or null means the operator's default.

    Any value is taken here: pydantic would turn "0.5" and true into numbers and answer in another shape.
    """

    keep_ratio: Annotated[Any, _documented(_AUTO, _RATIOS, **_RATIO)] = Field(
        None,
        description="Fraction of the visual tokens of each image and video to keep; or `auto`, or a list, for images.",
    )
    keep_tokens: Annotated[Any, _documented(type="integer", minimum=FEWEST_TOKENS)] = Field(
        None, description="Visual tokens to keep per image. Not together with keep_ratio."
    )
    keep_tokens_total: Annotated[Any, _documented(type="integer", minimum=FEWEST_TOKENS)] = Field(
        None,
        description="Visual tokens that all images and videos share. Not together with keep_ratio or keep_tokens.",
    )
    max_pixels: Annotated[Any, _documented(_LIMITS, **_PIXELS)] = Field(
        None, description="Most pixels that an image is encoded with, or a list with a number for each image."
    )
    focus_query: Annotated[Any, _documented(type="string", maxLength=MAX_FOCUS_QUERY_CHARS)] = Field(
        None, description="Text that steers which tokens are kept, in place of the text beside the image."
    )
    focus_scope: Annotated[Any, _documented(type="string", enum=list(FOCUS_SCOPES))] = Field(
        None, description="Whether the question steers which tokens are kept, or one selection serves all questions."
    )
    reduction_method: Annotated[Any, _documented(type="string")] = Field(
        None, description="Selection method. Refused unless the operator allows it."
    )


REQUEST_FIELDS: Final = tuple(ReductionFields.model_fields)

RATIO_BOUNDS: Final = "ratio_bounds"
"""Processor kwarg by which the server hands over the bounds of a client; no field of a request."""


class RatioBounds(NamedTuple):
    """Smallest and largest keep ratio that a client may have, inside those of the operator; JSON cannot make one."""

    low: float
    high: float


ANY_RATIO: Final = RatioBounds(0.0, 1.0)

DEFAULT_RATIO: Final = "default_ratio"
"""Processor kwarg by which the server hands over a default that is not the operator's own; no field of a request."""


class DefaultRatio(NamedTuple):
    """The keep ratio of a request that names none; JSON cannot make one."""

    ratio: float


TELLING: Final = "sppruner_telling"
"""Processor kwarg by which the server has a worker remember what it selects for a request; no field of one."""


class Telling(NamedTuple):
    """What the selections of a request are remembered under, each by `name_of`; JSON cannot make one.

    request: of this request alone, so that its pictures are selected for anew and no cache has them.
    """

    request: str

    def name_of(self, image: int) -> str:
        """The name of an image's selection, by its place among the request's images."""
        return f"{self.request}/{image}"

    def name_of_video(self, video: int) -> str:
        """Of a video, by its place among them; the selections of its frames go by `told.name_of_frame`."""
        return f"{self.request}/video {video}"


HANDED_OVER: Final = frozenset({RATIO_BOUNDS, DEFAULT_RATIO, TELLING})
"""Every processor kwarg that comes from the server and from no client."""


Ratio = float | Literal["auto"]


@dataclass(frozen=True, slots=True)
class ReductionRequest:
    """What one request asks for, validated.

    keep_ratio: fraction in (0, 1]. keep_tokens: absolute budget per image, which wins over the ratio when set.
    keep_ratios: one for each image, None in it for the operator's default; None where all images are asked the same.
    auto: the ratio is to fit the image, and is not known yet.
    keep_tokens_total: absolute budget that all images and videos share, which wins over the others when set.
    focus_query: text that replaces the user turn as the query; None leaves the turn in force.
    focus_scope: whom the selections serve; `question` beside a focus_query.
    insists: the budget is the request's own, so that it is kept to whether it pays or not.
    bounds: smallest and largest ratio that whoever asks may have, within which any budget is held.
    max_pixels: one for each image, None in it for any number; or one for all.
    shared: keep_tokens is the image's part of a budget, which nothing may raise.
    """

    keep_ratio: float
    keep_tokens: int | None
    focus_query: str | None
    method: str
    focus_scope: FocusScope = "question"
    insists: bool = True
    bounds: RatioBounds = ANY_RATIO
    keep_ratios: tuple[Ratio | None, ...] | None = None
    auto: bool = False
    keep_tokens_total: int | None = None
    max_pixels: tuple[int | None, ...] | int | None = None
    shared: bool = False

    @property
    def keeps_all(self) -> bool:
        if self.auto or self.keep_tokens is not None or self.keep_tokens_total is not None:
            return False
        return all((self.keep_ratio if ratio is None else ratio) == 1 for ratio in self.keep_ratios or (None,))

    @property
    def takes_default(self) -> bool:
        """Whether an image is given the operator's default ratio."""
        if self.keep_ratios is not None:
            return None in self.keep_ratios
        return not self.insists

    @property
    def asked_ratio(self) -> float | None:
        """The fraction that is kept of one image; None for an absolute budget, and while it is not known."""
        absolute = self.keep_tokens is not None or self.keep_tokens_total is not None
        return None if absolute or self.auto else self.keep_ratio

    @property
    def video_ratio(self) -> float:
        """The fraction that is kept of each video: the one of all images, or the operator's where each image is asked
        its own, or for a number of tokens. Of no matter where all share a budget."""
        return self.keep_ratio

    @property
    def insists_on_videos(self) -> bool:
        """Whether that fraction is the request's own."""
        return self.insists and not (self.auto or self.keep_tokens is not None or self.keep_ratios is not None)

    @property
    def per_image(self) -> bool:
        """Whether what is asked can differ from image to image."""
        given = (self.keep_ratios, self.keep_tokens_total, self.max_pixels)
        return self.auto or any(one is not None for one in given)

    def refuse_other_count(self, images: int) -> None:
        """Refuse a list that has not one entry for each image.

        Args:
            images: of the request, those of earlier turns included.

        Raises:
            InvalidField: names the field and both numbers.
        """
        for name, given in ((KEEP_RATIO, self.keep_ratios), (MAX_PIXELS, self.max_pixels)):
            if isinstance(given, tuple) and len(given) != images:
                raise InvalidField(name, other_count(name, len(given), images))

    def pixels_of(self, place: int) -> int | None:
        """Most pixels that one image may be encoded with; None for any. `place` as below."""
        return self.max_pixels[place] if isinstance(self.max_pixels, tuple) else self.max_pixels

    def of_image(self, place: int) -> ReductionRequest:
        """What is asked of one image, of those that keep_ratios are of.

        Args:
            place: of the image among those of the request, from 0.
        """
        if self.keep_ratios is None:
            return self
        ratio = self.keep_ratios[place]
        if ratio is None:
            return replace(self, keep_ratios=None, insists=False)
        if ratio == AUTO:
            return replace(self, keep_ratios=None, auto=True)
        return replace(self, keep_ratios=None, keep_ratio=float(ratio))

    def at_ratio(self, ratio: float) -> ReductionRequest:
        """What is asked of an image for which `auto` comes to a ratio."""
        return replace(self, auto=False, keep_ratio=ratio)

    def with_share(self, tokens: int) -> ReductionRequest:
        """What is asked of an image that gets so many of the tokens that all share."""
        return replace(self, keep_tokens_total=None, keep_tokens=tokens, shared=True)

    def of_images(self, first: int, count: int) -> ReductionRequest:
        """What is asked of some of a request's images, as those of one conversation of a batch.

        Args:
            first: place of the first of them. count: of them.
        """
        ratios, pixels = self.keep_ratios, self.max_pixels
        return replace(
            self,
            keep_ratios=None if ratios is None else ratios[first : first + count],
            max_pixels=pixels[first : first + count] if isinstance(pixels, tuple) else pixels,
        )


def other_count(name: str, entries: int, images: int) -> str:
    """What is said of a list that has not one entry for each image."""
    return f"{name} has {entries} entries, but the request holds {images} images, those of earlier turns included"


def validate_keep_ratio(value: object, name: str = KEEP_RATIO) -> float:
    """A keep ratio as a float in (0, 1].

    Args:
        value: of anywhere. name: how the message calls it.

    Raises:
        InvalidField: not a number (bool counts as none), not finite, or out of range.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidField(KEEP_RATIO, f"{name} must be a number in (0, 1], got {type(value).__name__}")
    if not 0 < value <= 1:
        raise InvalidField(KEEP_RATIO, f"{name} must be in (0, 1], got {reprlib.repr(value)}")
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
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidField(field, f"{name} must be an integer of at least {least}")
    return value


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
