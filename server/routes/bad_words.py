"""Words that an answer must not have: few, since each is looked up twice before the engine sees the request, while all
other requests wait."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator

MOST: Final = 2**14
"""Letters of all of them, and one more for each."""


def _few(words: list[str]) -> list[str]:
    if len(words) + sum(map(len, words)) > MOST:
        raise ValueError(f"bad_words may have {MOST} letters in all")
    return words


BadWords = Annotated[list[str], AfterValidator(_few)]
