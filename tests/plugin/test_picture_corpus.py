"""Every picture of the corpus through the reader that servers use: right to the level, or refused, never guessed."""

from __future__ import annotations

import numpy as np
import pytest

from corpus.case import Case
from corpus.pictures import picture_cases
from serving import data_url
from sppruner_vllm.api.connector import Connector
from sppruner_vllm.api.picture_io import limits
from sppruner_vllm.api.refusing import RefusedRequest
from sppruner_vllm.errors import InvalidField, UnusablePicture
from sppruner_vllm.pictures.load import Decoding, judge

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
