"""Which reduction fields a request carries."""

from types import SimpleNamespace

import pytest
from sppruner_server.body.fields import foreign_kwargs, reduction_fields

from sppruner_vllm.admission import admit as check
from sppruner_vllm.errors import InvalidField


def request(**fields: object) -> SimpleNamespace:
    return SimpleNamespace(**fields)


def test_top_level_fields_are_found():
    assert reduction_fields(request(keep_ratio=0.5, focus_query="the cat")) == {
        "keep_ratio": 0.5,
        "focus_query": "the cat",
    }


def test_fields_inside_mm_processor_kwargs_are_found():
    assert reduction_fields(request(mm_processor_kwargs={"keep_ratio": 0.5, "fps": 1})) == {"keep_ratio": 0.5}


def test_null_counts_as_not_given():
    assert reduction_fields(request(keep_ratio=None, mm_processor_kwargs={"keep_ratio": None})) == {}


def test_the_same_value_in_both_places_is_no_conflict():
    assert reduction_fields(request(keep_ratio=0.5, mm_processor_kwargs={"keep_ratio": 0.5})) == {"keep_ratio": 0.5}


def test_two_values_of_one_field_are_refused():
    with pytest.raises(InvalidField, match="differ") as caught:
        reduction_fields(request(keep_ratio=0.5, mm_processor_kwargs={"keep_ratio": 0.6}))
    assert caught.value.field == "keep_ratio"


def test_what_is_not_ours_in_mm_processor_kwargs_is_foreign():
    assert foreign_kwargs(request(mm_processor_kwargs={"keep_ratio": 0.5, "fps": 1})) == {"fps": 1}


@pytest.mark.parametrize("value", [0, -1, 1.5, float("nan"), float("inf"), "0.5", True, [1.5], ["0.5"], {}])
def test_a_bad_keep_ratio_is_refused_by_name(value):
    with pytest.raises(InvalidField) as caught:
        check({"keep_ratio": value})
    assert (caught.value.field, caught.value.code) == ("keep_ratio", "invalid_keep_ratio")
