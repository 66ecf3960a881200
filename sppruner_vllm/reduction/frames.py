"""What changes in a video from frame to frame: of its pixels before the encoder, of its rows behind it.

Pure tensor code. docs/develop/algorithm.md, "Videos".
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

_STEPS: Final = 2**16
"""Changes are whole numbers of this many steps, so that a last bit decides nothing."""

_MOST_SAMPLES: Final = 192
"""Numbers of a token's pixels that are looked at; of more every second, third and so on."""


def pixel_changes(pixels: Tensor, frames: int, tokens: int) -> list[float]:
    """How much of each frame the one before did not show.

    Of each token the mean difference to the same place one frame earlier, as a share of how far the video's pixels lie
    from their mean, at most 1: so it does not matter how pixels are scaled, and a cut to another scene is full change.
    In a video of one colour, whose noise is all that there is, noise counts as change, and all frames alike.

    Args:
        pixels: (P, W), of any type, the patches of each token side by side, the tokens of each frame in one order.
        frames: T of them. tokens: of each frame; P is a multiple of T * tokens.

    Returns:
        T numbers in [0, 1]; the first is 1.
    """
    flat = pixels.reshape(frames, tokens, -1)
    # An odd step, for channels and pictures of a frame follow each other by even numbers.
    step = max(1, flat.shape[2] // _MOST_SAMPLES) | 1
    seen = flat[:, :, ::step].to(torch.float32)
    apart = float((seen - float(seen.mean(dtype=torch.float64))).abs().mean(dtype=torch.float64))
    if frames == 1 or apart == 0:
        return [1.0, *[0.0] * (frames - 1)]
    between = torch.stack([_mean_difference(now, before) for now, before in zip(seen[1:], seen[:-1], strict=True)])
    shares = (between / apart).clamp_max_(1.0).mean(1)
    return [1.0, *(round(share * _STEPS) / _STEPS for share in shares.tolist())]


def _mean_difference(now: Tensor, before: Tensor) -> Tensor:
    """(tokens,) float64: two API processes must not disagree by a last bit, for a split of the budget is no part of a
    video's identity."""
    return (now - before).abs().mean(1, dtype=torch.float64)


def repeated(rows: Tensor, frames: int) -> Tensor:
    """How far each token repeats the same place of the frame before: (N,) float32 in [0, 1], 0 in the first frame.

    The cosine of the two rows, where what all rows of the video have in common is taken out.

    Args:
        rows: (N, D), any floating dtype, frame after frame, each in raster order. frames: T; N is a multiple of it.
    """
    each = rows.reshape(frames, -1, rows.shape[1])
    common = torch.stack([_finite(frame).mean(0) for frame in each]).mean(0)
    likeness = rows.new_zeros(each.shape[:2], dtype=torch.float32)
    before = None
    for number, frame in enumerate(each):
        now = torch.nn.functional.normalize(_finite(frame) - common, dim=1, eps=1e-20)
        if before is not None:
            likeness[number] = torch.linalg.vecdot(now, before)
        before = now
    return (likeness.clamp_(0.0, 1.0) * _STEPS).round_().div_(_STEPS).flatten()


def _finite(rows: Tensor) -> Tensor:
    return rows.to(torch.float32).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
