"""Backgrounds of scenes: crops of real photographs and of textures that scikit-image and scikit-learn ship.

Which ones, and under what licence: demo_model/MODEL_CARD.md.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from PIL import Image

PHOTOS: Final = ("astronaut", "chelsea", "coffee", "rocket", "hubble_deep_field", "brick", "grass", "gravel")
"""Functions of skimage.data whose pictures come with the package."""

HELD_OUT_PHOTOS: Final = ("camera", "coins", "moon", "immunohistochemistry", "retina", "stereo_motorcycle")
"""Functions of skimage.data whose pictures no training shows."""

SCENERY: Final = ("china.jpg", "flower.jpg")
"""Pictures of sklearn.datasets."""


@lru_cache(maxsize=2)
def _photos(*, held_out: bool) -> tuple[Image.Image, ...]:
    import skimage.data
    from sklearn.datasets import load_sample_image

    pictures = [getattr(skimage.data, name)() for name in (HELD_OUT_PHOTOS if held_out else PHOTOS)]
    # A stereo picture comes with its other eye's and the distances.
    pictures = [picture[0] if isinstance(picture, tuple) else picture for picture in pictures]
    pictures += [] if held_out else [load_sample_image(name) for name in SCENERY]
    return tuple(Image.fromarray(np.asarray(picture)).convert("RGB") for picture in pictures)


def background(seed: int, size: int, *, held_out: bool = False) -> Image.Image:
    """A square crop, (size, size) RGB: another place, zoom, mirror image and brightness for every seed.

    Args:
        held_out: of a photograph that training never shows.
    """
    dice = np.random.default_rng(seed)
    photos = _photos(held_out=held_out)
    photo = photos[dice.integers(len(photos))]
    side = int(min(photo.size) * dice.uniform(0.35, 1.0))
    left, top = (int(dice.integers(length - side + 1)) for length in photo.size)
    crop = photo.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))
    if dice.random() < 0.5:
        crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    gain, shift = dice.uniform(0.6, 1.1), dice.uniform(-25, 25)
    return crop.point([int(min(255, max(0, value * gain + shift))) for value in range(256)] * 3)
