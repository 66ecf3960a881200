"""One budget for all images and videos of a request: what each gets of it, before any is encoded.

An image's part grows with its visual tokens and with what its pixels have to tell (pictures/texture.py); of a video
what its frames show anew counts too. In a chat that goes on, what earlier images got has to stay for the prefix cache
to hold. So the price per unit of weight changes by halves alone, and seldom: docs/use/api.md, "A budget for all
pictures".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

TEXTURE_WEIGHT: Final = 3.0
"""How much more than a blank image of the same size one weighs that is full of fine detail."""

_HALVINGS: Final = 64


@dataclass(frozen=True, slots=True)
class Claim:
    """What one image or video may get.

    tokens: visual tokens of it. texture: of its pixels, in [0, 1]. turn: of the prompt, in which it stands.
    least, most: tokens within which its part is held, 1 <= least <= most <= tokens.
    new: share of the tokens that show what none before them did, in (0, 1]; 1 of an image.
    """

    tokens: int
    texture: float
    turn: int
    least: int
    most: int
    new: float = 1.0

    @property
    def weight(self) -> float:
        return self.tokens * self.new * (1 + TEXTURE_WEIGHT * self.texture)

    def at(self, price: float) -> int:
        """Tokens at a price: so many for each unit of weight."""
        return min(self.most, max(self.least, int(self.weight * price + 1e-9)))


def shares(claims: Sequence[Claim], total: int) -> list[int]:
    """Tokens of each image, which together are at most `total`, unless the least that each must have is more.

    All that they may have, where there is room for it; else, of images of one turn, exactly `total`; else what the
    images of the first turn would pay alone, halved until there is room for all.

    Args:
        claims: of the images in the order of the prompt, at least one. total: tokens to share.
    """
    if sum(claim.least for claim in claims) >= total:
        return [claim.least for claim in claims]
    if sum(claim.most for claim in claims) <= total:
        return [claim.most for claim in claims]
    first = [claim for claim in claims if claim.turn == claims[0].turn]
    price = _price(first, total)
    if len(first) == len(claims):
        return _filled(claims, price, total)
    while sum(claim.at(price) for claim in claims) > total:
        price /= 2
    return [claim.at(price) for claim in claims]


def shares_of_both(images: Sequence[Claim], videos: Sequence[Claim], total: int) -> tuple[list[int], list[int]]:
    """Tokens of each image and of each video of a request, as `shares` has them; at least one of either."""
    claims = [*images, *videos]
    in_turn = sorted(range(len(claims)), key=lambda place: claims[place].turn)
    parts = dict(zip(in_turn, shares([claims[place] for place in in_turn], total), strict=True))
    ordered = [parts[place] for place in range(len(claims))]
    return ordered[: len(images)], ordered[len(images) :]


def _price(claims: Sequence[Claim], total: int) -> float:
    """The highest price at which the images get no more than `total`: where all have all, the lowest that gives it."""
    low, high = 0.0, max(claim.most / claim.weight for claim in claims)
    if sum(claim.at(high) for claim in claims) <= total:
        return high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if sum(claim.at(middle) for claim in claims) <= total:
            low = middle
        else:
            high = middle
    return low


def _filled(claims: Sequence[Claim], price: float, total: int) -> list[int]:
    """The parts at a price, and what rounding left of the total to those who lost most by it."""
    parts = [claim.at(price) for claim in claims]
    lost = sorted(range(len(claims)), key=lambda place: parts[place] - claims[place].weight * price)
    left = total - sum(parts)
    while left:
        for place in lost:
            if left and parts[place] < claims[place].most:
                parts[place] += 1
                left -= 1
    return parts
