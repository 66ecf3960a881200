"""Names that are meant as fields of a request and are none: spelt otherwise, or part of a longer one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from sppruner_vllm.errors import InvalidField

from .fields import MAX_PIXELS, REQUEST_FIELDS
from .handed_over import HANDED_OVER

CLOSE: Final = 0.8
"""Likeness, as difflib measures it, from which on a name is a slip of ours: `keep_rate` is, `keep_alive` is not."""

_LONGEST_NAME: Final = 32
_PLAIN: Final = {name.replace("_", ""): name for name in REQUEST_FIELDS}
_OTHER_SIGNS: Final = re.compile(r"[^a-z0-9]")
_UNKNOWN: Final = "unknown_parameter"


def meant(name: str) -> str | None:
    """The field that a name is, is close to or contains; None for any other."""
    return _meant(name) if len(name) <= _LONGEST_NAME else None


def contained(name: str) -> str | None:
    """The longest field that a name contains, however it is written; None for a name without one."""
    plain = _plain(name)
    return _PLAIN.get(max((key for key in _PLAIN if key in plain), key=len, default=""))


def refuse_lost(kwargs: Mapping[str, object]) -> None:
    """Refuse processor kwargs that would be dropped: a field misspelt, or what the server alone hands over.

    Whatever a model's own processor calls its limit of pixels is its own.

    Raises:
        InvalidField: names the first.
    """
    for name, value in kwargs.items():
        if name in REQUEST_FIELDS:
            continue
        if name in HANDED_OVER:
            if not isinstance(value, HANDED_OVER[name]):
                raise InvalidField(name, f"{name} is no field of a request", code=_UNKNOWN)
        elif isinstance(name, str) and meant(name) not in (None, MAX_PIXELS):
            raise InvalidField(name, f"{name} is not a field; did you mean {meant(name)}?", code=_UNKNOWN)


@lru_cache(maxsize=1024)
def _meant(name: str) -> str | None:
    close = difflib.get_close_matches(_plain(name), _PLAIN, n=1, cutoff=CLOSE)
    return _PLAIN[close[0]] if close else contained(name)


def _plain(name: str) -> str:
    return _OTHER_SIGNS.sub("", name.lower())
