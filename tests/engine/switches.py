"""The switches of the operator that change what a worker computes, each on by itself; all are off by default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from beds import Bed

Settings = Mapping[str, str]
"""By name in capitals, as `operated_with` takes them."""

_CUT: Final = {"ENCODER_CUT": "2", "ENCODER_CUT_BLOCK": "1"}
_SKIP: Final = {"SKIP_REPEATS": "1"}

FEWER: Final[Mapping[str, Settings]] = {"encoder cut": _CUT, "repeats": _SKIP, "both": _CUT | _SKIP}
"""Not all tokens go through the encoder; for beds that say behind which block."""

SCOPES: Final[Mapping[str, Settings]] = {
    "image scope": {"FOCUS_SCOPE": "image"},
    "auto scope": {"FOCUS_SCOPE": "auto"},
}
ATTENTION: Final[Mapping[str, Settings]] = {"attention": {"SALIENCY_ATTENTION": "1"}}
QUESTIONS: Final[Mapping[str, Settings]] = {"question depth": {"QUESTION_DEPTH": "0.5"}}

PATCHES: Final[Mapping[str, Settings]] = {"patches": {"RANK_ON": "patches"}}

SWITCHES: Final = {**FEWER, **ATTENTION, **PATCHES, **SCOPES, **QUESTIONS}


def switches_of(bed: Bed) -> Mapping[str, Settings]:
    """Those that a server of this family starts with."""
    return {
        **(FEWER if bed.block is not None else {}),
        **(ATTENTION if bed.attention else {}),
        **PATCHES,
        **SCOPES,
        **(QUESTIONS if bed.reads else {}),
    }
