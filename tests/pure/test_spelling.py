"""Processor kwargs that would be dropped are refused; those of a model's own processor are left alone."""

from __future__ import annotations

import pytest

from sppruner_vllm.errors import InvalidField
from sppruner_vllm.request.handed_over import DefaultRatio, RatioBounds, Telling
from sppruner_vllm.request.spelling import refuse_lost


@pytest.mark.parametrize("name", ["keepratio", "keep-ratio", "Keep_Ratio", "keep_rate", "keep_token", "focus_scopes"])
def test_a_slip_is_refused_with_what_was_meant(name: str) -> None:
    with pytest.raises(InvalidField, match=f"^{name} is not a field; did you mean ") as refused:
        refuse_lost({"do_resize": False, name: 0.5})
    assert (refused.value.field, refused.value.code) == (name, "unknown_parameter")


@pytest.mark.parametrize("name", ["ratio_bounds", "default_ratio", "sppruner_telling"])
def test_what_the_server_hands_over_is_taken_in_its_own_types_alone(name: str) -> None:
    refuse_lost(
        {"ratio_bounds": RatioBounds(0.1, 1), "default_ratio": DefaultRatio(0.5), "sppruner_telling": Telling("a")}
    )
    with pytest.raises(InvalidField, match=f"^{name} is no field of a request$"):
        refuse_lost({name: (0.1, 1)})


def test_fields_of_ours_and_of_other_processors_are_left_alone() -> None:
    names = ("keep_ratio", "max_pixels", "min_pixels", "video_max_pixels", "fps", "num_frames", "size", "do_resize")
    refuse_lost(dict.fromkeys(names, 1))
