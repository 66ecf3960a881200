"""Limits of pixels: which holds, what cannot keep to one, and which size a name alone stands for."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image
from vllm.multimodal.parse import ImageProcessorItems

from sppruner_vllm.api import pixel_limits
from sppruner_vllm.api.pixel_limits import limits_of, refuse_fixed, same_size
from sppruner_vllm.errors import InvalidField
from sppruner_vllm.request.checking import validate_request
from sppruner_vllm.settings import Settings


def asking(pixels: object) -> Any:
    return validate_request({"max_pixels": pixels}, Settings(), frozenset())


@pytest.mark.parametrize(
    ("operator", "asked", "limits"),
    [
        (0, None, [None, None]),
        (500, None, [500, 500]),
        (0, 400, [400, 400]),
        (500, 400, [400, 400]),
        (500, 600, [500, 500]),
        (500, [None, 100], [500, 100]),
    ],
)
def test_the_smaller_of_the_operators_limit_and_the_requests_holds(monkeypatch, operator, asked, limits):
    monkeypatch.setattr(pixel_limits, "settings", lambda: Settings(max_pixels=operator))
    assert limits_of(asking(asked), 2) == limits


def test_a_list_of_another_length_is_refused():
    with pytest.raises(InvalidField, match="max_pixels has 1 entries, but the request holds 2 images") as refusal:
        limits_of(asking([9]), 2)
    assert refusal.value.code == "invalid_max_pixels"


PICTURE = Image.new("RGB", (56, 56))


@pytest.mark.parametrize(
    ("fixed", "pixels", "words"),
    [
        (336 * 336, 1000, "brings pictures to sizes of its own, of up to 112896 pixels"),
        (None, 1000, "image 0 is given as embeddings"),
    ],
)
def test_what_cannot_be_made_smaller_is_refused(fixed, pixels, words):
    items = ImageProcessorItems([PICTURE]) if fixed else object()
    with pytest.raises(InvalidField, match=words) as refusal:
        refuse_fixed(fixed, asking(pixels), items, 1)
    assert (refusal.value.field, refusal.value.code) == ("max_pixels", "unsupported_parameter")


@pytest.mark.parametrize(("fixed", "pixels"), [(336 * 336, 2**18), (None, 1000), (336 * 336, None)])
def test_a_limit_that_can_be_kept_to_is_not(fixed, pixels):
    refuse_fixed(fixed, asking(pixels), ImageProcessorItems([PICTURE]), 1)


@pytest.mark.parametrize(
    ("kept_to", "pixels", "same"),
    [
        (None, None, True),
        (None, 4 * 28**2, True),
        (None, 4 * 28**2 - 1, False),
        (900, 900, True),
        (900, 901, False),
        (900, None, False),
    ],
)
def test_a_name_alone_stands_for_the_size_it_was_sent_at(kept_to, pixels, same):
    assert same_size((2, 2), kept_to, pixels, 28) is same
