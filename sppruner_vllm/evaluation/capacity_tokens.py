"""Capacity, tokens: how long a prompt is when its images and videos keep a part of their visual tokens.

Images are resized by transformers' own function for Qwen2.5-VL; the rest is arithmetic.
docs/operate/scaling.md, "Tokens".
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sppruner_vllm.planning.plan import retained_tokens
from sppruner_vllm.planning.smaller import Grid
from sppruner_vllm.settings import FEWEST_TOKENS


@dataclass(frozen=True, slots=True)
class Patches:
    """How a model's image processor cuts an image, by the names of preprocessor_config.json.

    patch_size: pixels along a patch. merge_size: patches along a visual token. min_pixels, max_pixels: an image is
    enlarged or made smaller until it lies between them.
    """

    patch_size: int
    merge_size: int
    min_pixels: int
    max_pixels: int

    @property
    def cell(self) -> int:
        """Pixels along one visual token: patch_size x merge_size, 28 on Qwen2.5-VL."""
        return self.patch_size * self.merge_size


class Video(NamedTuple):
    """frames: that the encoder sees. each: visual tokens of a frame."""

    frames: int
    each: int

    @property
    def tokens(self) -> int:
        return self.frames * self.each


@dataclass(frozen=True, slots=True)
class Request:
    """What a typical request holds.

    visual: visual tokens of each of its images, before reduction; empty for none.
    text: all other prompt tokens: the question, the template, marks around images. May be a mean, as output may.
    output: tokens of the answer. videos: each of them.
    """

    visual: tuple[int, ...]
    text: float
    output: float
    videos: tuple[Video, ...] = ()

    @property
    def shown(self) -> tuple[int, ...]:
        """Visual tokens of each image and video, before reduction."""
        return self.visual + tuple(video.tokens for video in self.videos)

    @property
    def original(self) -> int:
        return sum(self.shown)


def read_patches(folder: Path) -> Patches:
    """The image processor's settings of a checkpoint folder.

    Raises:
        ValueError: the file misses one of them.
    """
    path = folder / "preprocessor_config.json"
    config = json.loads(path.read_text())
    size = config.get("size") or {}
    try:
        return Patches(
            config["patch_size"],
            config["merge_size"],
            config["min_pixels"] if "min_pixels" in config else size["shortest_edge"],
            config["max_pixels"] if "max_pixels" in config else size["longest_edge"],
        )
    except KeyError as missing:
        raise ValueError(f"{path} names no {missing.args[0]}") from missing


def token_grid(width: int, height: int, patches: Patches) -> Grid:
    """(height' / cell, width' / cell) of an image.

    height' and width' are the sides after the image processor rounded them to whole cells, within its pixel bounds.

    Raises:
        ValueError: one side is more than 200 times the other, which the image processor refuses.
    """
    # Imported late: it loads torch, which nothing else here needs.
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    rows, columns = smart_resize(height, width, patches.cell, patches.min_pixels, patches.max_pixels)
    return int(rows // patches.cell), int(columns // patches.cell)


def visual_tokens(width: int, height: int, patches: Patches) -> int:
    """Visual tokens of an image: those of its `token_grid`.

    Raises:
        ValueError: one side is more than 200 times the other, which the image processor refuses.
    """
    return math.prod(token_grid(width, height, patches))


def retained(request: Request, keep_ratio: float) -> int:
    """Visual tokens that a request keeps: of each image and video ceil(tokens x keep_ratio), at least 2 of each image
    and of each frame of a video."""
    images = sum(retained_tokens(tokens, keep_ratio) for tokens in request.visual)
    return images + sum(
        max(video.frames * min(video.each, FEWEST_TOKENS), retained_tokens(video.tokens, keep_ratio))
        for video in request.videos
    )


def prompt_tokens(request: Request, keep_ratio: float) -> float:
    """Prompt length as `usage.prompt_tokens` tells it: text + retained visual tokens."""
    return request.text + retained(request, keep_ratio)
