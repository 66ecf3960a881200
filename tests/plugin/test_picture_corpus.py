"""Every picture of the corpus through the reader that servers use: right to the level, or refused, never guessed."""

from __future__ import annotations

import random

import numpy as np
import pytest

from corpus.case import Case
from corpus.pictures import picture_cases
from serving import data_url
from sppruner_vllm.api.connector import Connector
from sppruner_vllm.api.picture_io import limits
from sppruner_vllm.api.refusing import RefusedRequest
from sppruner_vllm.errors import InvalidField, UnusablePicture
from sppruner_vllm.pictures.load import Decoding, decode, judge

CASES = picture_cases()
RIGHT = [case for case in CASES if case.truth is not None]
REFUSED = [case for case in CASES if case.truth is None]


def test_the_corpus_is_large_and_even_handed():
    assert len(RIGHT) >= 45
    assert len(REFUSED) >= 45


@pytest.mark.parametrize("case", RIGHT, ids=str)
def test_a_picture_has_the_levels_that_it_means(case: Case):
    loaded = Connector().fetch_image(data_url(case.content))
    levels = np.asarray(loaded.media).astype(np.int64)
    assert loaded.media.mode == "RGB"
    assert levels.shape == case.truth.shape
    assert np.abs(levels - case.truth).max() <= case.tolerance


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_a_picture_that_cannot_be_right_is_refused_under_its_code(case: Case):
    with pytest.raises(RefusedRequest) as refused:
        Connector().fetch_image(data_url(case.content) if case.content else "data:image/png;base64,")
    cause = refused.value.__cause__
    assert isinstance(cause, InvalidField)
    assert (cause.field, cause.code) == ("image_url", case.code)


@pytest.mark.parametrize("case", [case for case in REFUSED if case.from_head], ids=str)
def test_what_the_head_shows_is_refused_before_anything_is_decoded(case: Case):
    with pytest.raises(UnusablePicture):
        judge(case.content, Decoding(limits()))


def test_whatever_is_done_to_a_picture_it_is_one_or_refused():
    dice, how = random.Random(0), Decoding(limits())
    small = [case.content for case in CASES if 0 < len(case.content) < 50_000]
    refused = 0
    for _ in range(3000):
        content = spoilt(dice.choice(small), dice)
        try:
            image, _ = decode(judge(content, how), how)
        except UnusablePicture:
            refused += 1
        else:
            assert image.mode == "RGB"
            assert image.width * image.height <= how.limits.pixels
    assert refused > 1000


def spoilt(content: bytes, dice: random.Random) -> bytes:
    """The file with a few bytes changed, dropped or doubled, near its start more often than elsewhere."""
    data = bytearray(content)
    for _ in range(dice.choice((1, 2, 8))):
        at = dice.randrange(min(len(data), dice.choice((64, 256, len(data)))))
        some = dice.randrange(1, 40)
        match dice.choice(("byte", "number", "drop", "double")):
            case "byte":
                data[at] = dice.choice((0, 1, 128, 255, dice.randrange(256)))
            case "number":
                data[at : at + 4] = dice.choice((bytes(4), b"\xff" * 4, b"\x7f\xff\xff\xff", dice.randbytes(4)))
            case "drop" if len(data) > at + some:
                del data[at : at + some]
            case _:
                data[at:at] = data[at : at + some]
    return bytes(data)
