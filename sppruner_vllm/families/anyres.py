"""Pictures as the LLaVA line tiles them: a base view of the whole, and a mosaic of tiles from which padding is cut off.

Rows are the base's tokens, then the mosaic's line by line, each line with a row of its own at the end. Geometry as in
vLLM 0.32 and 0.33, models/llava_next.py:365 and models/llava_onevision.py:673, and as in transformers' `unpad_image`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad
from transformers.models.llava_next.modeling_llava_next import get_anyres_image_grid_shape

from sppruner_vllm.family import Layout
from sppruner_vllm.reduction.pieces import Piece

_WORTH_SHRINKING: Final = 1.1
"""A mosaic is shrunk that has more than this much too many tokens along a side."""


@dataclass(frozen=True, slots=True)
class Tiling:
    """How one picture is tiled.

    side: tokens along a side of a tile, and of the base. tiles: of the mosaic, (down, across).
    cut: tokens that are cut off above and on the left; as many are below and on the right.
    shrunk: size of the mosaic that is left, (height, width), where it is made smaller; None where it stays.
    """

    side: int
    tiles: tuple[int, int]
    cut: tuple[int, int]
    shrunk: tuple[int, int] | None = None

    @property
    def uncut(self) -> tuple[int, int]:
        """Tokens of the mosaic without its padding, (height, width)."""
        down, across = self.tiles
        above, left = self.cut
        return down * self.side - 2 * above, across * self.side - 2 * left

    @property
    def pieces(self) -> tuple[Piece, Piece]:
        """Base and mosaic."""
        return Piece(0, (self.side, self.side)), Piece(self.side**2, self.shrunk or self.uncut, line_ends=True)

    def padded(self, tiles: int) -> Layout:
        """How its rows lie, where its pixels have so many tiles, the base and those that are of no use among them."""
        return Layout(self.pieces, tiles * self.side**2, self.arranged)

    def arranged(self, values: Tensor) -> Tensor:
        """What belongs to each row, (N, ...), of what belongs to each token of the tower, (tiles * side**2, ...)."""
        size, (down, across) = self.side**2, self.tiles
        base, tiles = values[:size], values[size : size * (1 + down * across)]
        lines = tiles.view(down, across, self.side, self.side, -1).transpose(1, 2)
        mosaic = lines.reshape(down * self.side, across * self.side, -1)
        above, left = self.cut
        height, width = self.uncut
        mosaic = mosaic[above : above + height, left : left + width]
        if self.shrunk is not None:
            mosaic = interpolate(mosaic.permute(2, 0, 1)[None], self.shrunk, mode="bilinear")[0].permute(1, 2, 0)
        ended = pad(mosaic, (0, 0, 0, 1)).flatten(0, 1)
        return torch.cat((base, ended.view(-1, *values.shape[1:])))


@dataclass(frozen=True, slots=True)
class Tiler:
    """How a checkpoint tiles.

    pinpoints: sizes of mosaics, (height, width) in pixels. pixels: along a side of a tile. side: tokens along it.
    most: tiles to whose tokens a mosaic is shrunk that has more; None for none.
    """

    pinpoints: tuple[tuple[int, int], ...]
    pixels: int
    side: int
    most: int | None = None

    def of(self, height: int, width: int) -> Tiling:
        """The tiling of a picture of so many pixels."""
        return _tiling(self, height, width)

    @property
    def most_pixels(self) -> int:
        """Pixels of the base and of the largest mosaic."""
        return self.pixels**2 + max(height * width for height, width in self.pinpoints)


def tiler_of(config: Any, most: int | None = None) -> Tiler:
    """How the checkpoint of a transformers configuration tiles; `most` as above."""
    vision = config.vision_config
    pinpoints = tuple((int(height), int(width)) for height, width in config.image_grid_pinpoints)
    pixels = int(vision.image_size)
    return Tiler(pinpoints, pixels, pixels // int(vision.patch_size), most)


@lru_cache(maxsize=4096)
def _tiling(tiler: Tiler, height: int, width: int) -> Tiling:
    pinpoints: Sequence[Sequence[int]] = [list(size) for size in tiler.pinpoints]
    down, across = get_anyres_image_grid_shape((height, width), pinpoints, tiler.pixels)
    lines, columns = down * tiler.side, across * tiler.side
    above = left = 0
    if width / height > columns / lines:
        above = (lines - int(round(height * (columns / width), 7))) // 2
    else:
        left = (columns - int(round(width * (lines / height), 7))) // 2
    tiling = Tiling(tiler.side, (down, across), (above, left))
    if tiler.most is None:
        return tiling
    lines, columns = tiling.uncut
    ratio = math.sqrt(lines * columns / (tiler.most * tiler.side**2))
    if ratio <= _WORTH_SHRINKING:
        return tiling
    return Tiling(tiler.side, (down, across), (above, left), (int(lines // ratio), int(columns // ratio)))
