"""A JPEG that is decoded in one go has Pillow's pixels, and what lacks data is left to be judged."""

from __future__ import annotations

import io
from itertools import product

import numpy as np
import pytest
from PIL import Image

from sppruner_vllm.pictures import formats, jpeg


def saved(image: Image.Image, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", **options)
    return stream.getvalue()


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    shape = (height, width, len(mode)) if len(mode) > 1 else (height, width)
    return Image.fromarray(np.random.default_rng(7).integers(0, 256, shape, dtype=np.uint8), mode)


def at_once(content: bytes) -> Image.Image | None:
    head = formats.head(content)
    return jpeg.decoded(jpeg.clean(content, head), head)


@pytest.mark.parametrize(
    ("size", "mode", "sampling", "progressive"),
    list(product([(64, 48), (37, 53), (300, 17), (1, 9)], ["RGB", "L"], [0, 1, 2], [False, True])),
)
def test_what_is_decoded_in_one_go_has_pillows_pixels(size, mode, sampling, progressive):
    content = saved(noise(*size, mode), quality=85, subsampling=sampling, progressive=progressive)
    image = at_once(content)
    assert image is not None
    assert image.mode == mode
    np.testing.assert_array_equal(np.asarray(image), np.asarray(Image.open(io.BytesIO(content))))


def test_colours_that_were_stored_as_they_are_stay_so():
    content = saved(noise(40, 40), quality=95, keep_rgb=True)
    image = at_once(content)
    assert image is not None
    np.testing.assert_array_equal(np.asarray(image), np.asarray(Image.open(io.BytesIO(content))))


def test_four_components_are_left_to_pillow():
    assert at_once(saved(noise(32, 32, "CMYK"))) is None


@pytest.mark.parametrize("missing", [1, 2, 5, 40])
@pytest.mark.parametrize("progressive", [False, True])
def test_one_that_lacks_even_a_byte_is_left_to_be_checked(missing, progressive):
    content = saved(noise(64, 64), quality=90, progressive=progressive)
    assert at_once(content[: -2 - missing] + b"\xff\xd9") is None
