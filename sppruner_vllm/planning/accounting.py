"""What was reduced, told to whoever serves the request.

The processor leaves one record per request beside vLLM's own engine input; the server turns it into `usage` and
headers. A plain dict key is used because vLLM's input types are TypedDicts that travel to the handler unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, cast

from sppruner_vllm.planning.plan import ReductionPlan, SkippedReason, unreduced
from sppruner_vllm.request.asked import ReductionRequest

from .scope import Served

ENGINE_INPUT_KEY: Final = "sppruner"

Modality = Literal["image", "video"]

SHRUNK: Final = "shrunk_images"
"""Stands in a usage only where an image was made smaller to keep a limit."""

IMAGES: Final = "images"
"""Stands in a usage only where what was asked could differ from image to image, or where there are videos too."""

VIDEOS: Final = "videos"
"""Stands in a usage only where there are any."""


@dataclass(frozen=True, slots=True)
class ImageTokens:
    """Visual tokens of one image.

    original, retained: counts before and after the reduction.
    keep_ratio: the ratio in force; for an absolute budget, or one of the operator's, the ratio it came to.
    skipped_reason: why nothing was reduced, None when something was.
    shrunk: it was made smaller to keep a limit, before anything was counted.
    """

    original: int
    retained: int
    keep_ratio: float
    skipped_reason: str | None
    shrunk: bool = False


@dataclass(frozen=True, slots=True)
class VideoTokens:
    """Visual tokens of one video.

    original, retained, skipped_reason: as of an image. keep_ratio: as of an image; 1 where it stays whole by itself.
    frames: that the encoder sees, 0 where that is not known.
    scope: whom its selection served; None where no question could steer it.
    came_to: keep_ratio is what a number of tokens, or a budget of the operator's, came to.
    """

    original: int
    retained: int
    keep_ratio: float
    skipped_reason: str | None
    frames: int = 0
    scope: Served | None = None
    came_to: bool = False

    @property
    def reduced(self) -> bool:
        return self.skipped_reason is None

    def as_usage(self) -> dict[str, Any]:
        """Its part of a usage."""
        fields = asdict(self)
        del fields["scope"], fields["came_to"]
        return fields


@dataclass(frozen=True, slots=True)
class VisualTokens:
    """Visual tokens of one request, summed over its images and videos.

    original, retained: counts before and after the reduction.
    keep_ratio: the ratio in force; for an absolute budget, or one of the operator's, or where images and videos have
        not all the same, the ratio it came to.
    skipped_reason: why nothing was reduced, None when any image or video was.
    scopes: of each image, whom its selection served; None where no question could steer it.
    shrunk: images that were made smaller to keep a limit, before anything was counted.
    images: each of them, where what was asked could differ from one to the other, or there is a video; else none.
    videos: each of them.
    """

    original: int
    retained: int
    keep_ratio: float
    method: str
    skipped_reason: str | None
    scopes: tuple[Served | None, ...] = ()
    shrunk: int = 0
    images: tuple[ImageTokens, ...] = ()
    videos: tuple[VideoTokens, ...] = ()

    @property
    def by_modality(self) -> Mapping[Modality, tuple[int, int]]:
        """Visual tokens before and after the reduction, of what the request has."""
        videos = sum(video.original for video in self.videos), sum(video.retained for video in self.videos)
        images = self.original - videos[0], self.retained - videos[1]
        both: Mapping[Modality, tuple[int, int]] = {"image": images, "video": videos}
        return {modality: tokens for modality, tokens in both.items() if tokens[0]}

    @property
    def keep_ratios(self) -> tuple[float, ...]:
        """The ratio in force for each image."""
        return tuple(image.keep_ratio for image in self.images) or (self.keep_ratio,) * len(self.scopes)

    @property
    def all_scopes(self) -> tuple[Served | None, ...]:
        """Whom the selection served of each image, then of each video."""
        return self.scopes + tuple(video.scope for video in self.videos)

    @property
    def focus_scope(self) -> str | None:
        """The scope that served; where images or videos differ, that of each with commas between, `none` for None."""
        if not any(self.all_scopes):
            return None
        names = [scope or "none" for scope in self.all_scopes]
        return names[0] if len(set(names)) == 1 else ",".join(names)

    def as_usage(self) -> dict[str, Any]:
        """The object `visual_tokens` of a response's usage."""
        told: dict[str, Any] = {
            "original": self.original,
            "retained": self.retained,
            "keep_ratio": self.keep_ratio,
            "method": self.method,
            "skipped_reason": self.skipped_reason,
            "focus_scope": self.focus_scope,
        }
        if self.shrunk:
            told[SHRUNK] = self.shrunk
        if self.images:
            told[IMAGES] = [asdict(image) for image in self.images]
        if self.videos:
            told[VIDEOS] = [video.as_usage() for video in self.videos]
        return told


def account(
    plans: Sequence[ReductionPlan],
    request: ReductionRequest,
    images: Sequence[int],
    videos: Sequence[VideoTokens] = (),
    shrunk: Sequence[bool] = (),
) -> VisualTokens | None:
    """The record for a request's images and videos; None when it has neither.

    Args:
        plans: one per image.
        request: what was asked.
        images: placeholders of each image in the prompt, which is what the engine will compute.
        videos: what is known of each.
        shrunk: of each image whether it was made smaller to keep a limit; none for no image.
    """
    if not (plans or videos):
        return None
    # A picture sent under a UUID that vLLM still holds is served from its cache: what counts is what was placed.
    smaller = shrunk or [False] * len(plans)
    each = tuple(_of_one(*image) for image in zip(plans, images, smaller, strict=True))
    both: tuple[ImageTokens | VideoTokens, ...] = (*each, *videos)
    original, retained = sum(one.original for one in both), sum(one.retained for one in both)
    asked = {None if plan.raised else plan.ratio for plan in plans}
    asked |= {None if video.came_to else video.keep_ratio for video in videos}
    ratio = asked.pop() if len(asked) == 1 else None
    reasons = [one.skipped_reason for one in both]
    return VisualTokens(
        original=original,
        retained=retained,
        keep_ratio=round(retained / original, 6) if ratio is None else ratio,
        method=request.method,
        skipped_reason=None if None in reasons else reasons[0],
        scopes=tuple(plan.scope for plan in plans),
        shrunk=sum(smaller),
        images=each if request.per_image or videos else (),
        videos=tuple(videos),
    )


def _of_one(plan: ReductionPlan, placed: int, shrunk: bool) -> ImageTokens:
    original = plan.original if plan.reduces else placed
    ratio = None if plan.raised else plan.ratio
    came_to = round(placed / original, 6) if ratio is None else ratio
    return ImageTokens(original, placed, came_to, plan.skipped_reason, shrunk)


def note_whole(engine_input: MutableMapping[str, Any], request: ReductionRequest) -> None:
    """Leave the record of a prompt whose processor is not ours: nothing of it was reduced.

    Args:
        engine_input: vLLM's, as its own processor made it.

    Raises:
        InvalidField: a list of ratios has not one for each image.
    """
    placed = {
        modality: [place.get_num_embeds() for place in places]
        for modality, places in (engine_input.get("mm_placeholders") or {}).items()
    }
    images = placed.get("image", [])
    request.refuse_other_count(len(images))
    plans = [_whole(tokens, request.of_image(place)) for place, tokens in enumerate(images)]
    reason: SkippedReason = "keep_ratio_is_1" if request.keeps_videos else "unsupported_input"
    videos = [VideoTokens(tokens, tokens, 1.0, reason) for tokens in placed.get("video", [])]
    engine_input[ENGINE_INPUT_KEY] = account(plans, request, images, videos)


def _whole(tokens: int, request: ReductionRequest) -> ReductionPlan:
    return unreduced(tokens, request, "keep_ratio_is_1" if request.keeps_all else "unsupported_input")


def visual_tokens_of(engine_input: Mapping[str, object]) -> VisualTokens | None:
    """The record the processor left in an engine input; None for a request without images or videos."""
    return cast("VisualTokens | None", engine_input.get(ENGINE_INPUT_KEY))
