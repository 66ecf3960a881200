"""How a video's budget is split among its frames.

A frame is what the encoder takes for one: most models join two pictures of the video in it. One that repeats the frame
before it has little to tell and yields its budget to those that bring something new, down to a floor: what is seen to
stay is seen too. docs/develop/algorithm.md, "Videos".
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def split(budget: int, weights: Sequence[float], floor: int, most: int) -> list[int]:
    """Tokens of each frame: `floor` for all, the rest by weight; exactly `budget` in all, none above `most`.

    What a frame has no room for goes to the others, by weight again; what all of some weight have no room for, to the
    others evenly. Of equal remainders the earlier frame is served first.

    Args:
        budget: between floor and most times the frames. weights: of each frame, not negative.
        floor, most: tokens of one frame, 1 <= floor <= most.

    Raises:
        ValueError: no such split.
    """
    frames = len(weights)
    if not floor * frames <= budget <= most * frames:
        raise ValueError(f"{budget} tokens do not fit {frames} frames of {floor} to {most}")
    kept = [floor] * frames
    left = budget - floor * frames
    while left:
        open_frames = [frame for frame in range(frames) if kept[frame] < most]
        weighed = [weights[frame] for frame in open_frames]
        shares = weighed if sum(weighed) > 0 else [1.0] * len(open_frames)
        left = _hand_out(kept, open_frames, shares, left, most)
    return kept


def _hand_out(kept: list[int], frames: Sequence[int], weights: Sequence[float], left: int, most: int) -> int:
    """One round: adds to `kept`, gives what is left of the tokens then. At least one is handed out."""
    unit = left / sum(weights)
    exact = [weight * unit for weight in weights]
    given = [min(most - kept[frame], math.floor(share)) for frame, share in zip(frames, exact, strict=True)]
    for frame, tokens in zip(frames, given, strict=True):
        kept[frame] += tokens
    rest = left - sum(given)
    if all(tokens == math.floor(share) for tokens, share in zip(given, exact, strict=True)):
        # Nobody is full: only fractions are left, fewer than there are frames with one.
        by_remainder = sorted(range(len(frames)), key=lambda at: (math.floor(exact[at]) - exact[at], at))
        for at in by_remainder:
            if rest and weights[at] > 0 and kept[frames[at]] < most:
                kept[frames[at]] += 1
                rest -= 1
    return rest
