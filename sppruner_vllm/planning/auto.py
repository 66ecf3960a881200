"""The ratio that `keep_ratio: "auto"` comes to for one image, before it is encoded.

Detail decides (pictures/texture.py): photographs and flat screens shrink most, pages of print least, small pictures not
at all. docs/use/api.md, "A ratio that fits the picture".
"""

from __future__ import annotations

from sppruner_vllm.pictures.texture import READING
from sppruner_vllm.request.asked import ReductionRequest
from sppruner_vllm.settings import Settings


def auto_ratio(tokens: int, texture: float, request: ReductionRequest, limits: Settings) -> float:
    """The fraction that an image keeps.

    From the operator's least, for a flat picture, in a straight line to his ratio for reading, from READING on.

    Args:
        tokens: visual tokens of the image. texture: of its pixels, in [0, 1].
        request: whose bounds hold. limits: the operator's settings.

    Returns:
        Fraction in (0, 1], in steps of a thousandth.
    """
    ratio = 1.0
    if tokens > limits.auto_whole_tokens:
        reach = limits.auto_reading_ratio - limits.auto_least_ratio
        ratio = limits.auto_least_ratio + reach * min(1.0, texture / READING)
    low, high = max(limits.min_keep_ratio, request.bounds.low), min(limits.max_keep_ratio, request.bounds.high)
    return min(high, max(low, round(ratio, 3)))
