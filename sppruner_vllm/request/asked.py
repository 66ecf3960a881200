"""What one request asks for, checked: of all its images, of one, of some."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from sppruner_vllm.errors import InvalidField
from sppruner_vllm.settings import FocusScope

from .fields import AUTO, KEEP_RATIO, MAX_PIXELS
from .handed_over import ANY_RATIO, RatioBounds

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
    def may_stay_whole(self) -> bool:
        """Whether an image is left as it is where reducing it would not pay: nobody asks for less, or must."""
        return not self.insists and self.bounds.high == 1

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
    def keeps_videos(self) -> bool:
        """Whether videos are asked for whole."""
        return self.video_ratio == 1 and self.keep_tokens_total is None

    @property
    def videos_may_stay_whole(self) -> bool:
        """The same of its videos."""
        return not self.insists_on_videos and self.bounds.high == 1

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
