"""What a worker tells of one selection, in types that travel between processes: `as_message` beside `from_message`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

TELL: Final = "sppruner_selections"
"""Method of a worker: what it remembers under these names, by name, as `Told.as_message` has it. It forgets them."""


def name_of_frame(video: str, frame: int) -> str:
    """What the selection of a video's frame is remembered under. Args: video: the name of the video."""
    return f"{video}/{frame}"


@dataclass(frozen=True, slots=True)
class Told:
    """The selection of one image or frame, N of whose tokens the encoder gave.

    grid: (height, width) of these N tokens. kept: K of them in raster order, ascending. focus: of each kept one whether
    it is focus, else it is context.
    saliency: N numbers in [0, 1]. relevance: the same; None without a query, all 0 where the gate is shut.
    through: tokens that went through the whole encoder, ascending; None where all did.
    spared: the encoder did not run, for the rows of the picture or video were kept.
    seconds: that the selection took, with those of its batch; of a frame, with those of its video.
    """

    grid: tuple[int, int]
    kept: list[int]
    focus: list[bool]
    saliency: list[float]
    relevance: list[float] | None
    through: list[int] | None
    spared: bool
    seconds: float

    def as_message(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> Told:
        height, width = message["grid"]
        return cls(**{**message, "grid": (int(height), int(width))})
