"""All pictures of the corpus."""

from __future__ import annotations

from functools import cache
from itertools import chain

from corpus import jpegs, others, pngs, tiffs
from corpus.case import Case


@cache
def picture_cases() -> tuple[Case, ...]:
    """Every case once, its name its own."""
    cases = tuple(
        chain(
            pngs.sound(), pngs.damaged(), pngs.large(), jpegs.sound(), jpegs.damaged(), jpegs.large(),
            tiffs.tiffs(), others.gifs(), others.webps(), others.avifs(), others.plain(), others.no_pictures(),
        )
    )  # fmt: skip
    names = [case.name for case in cases]
    if len(set(names)) < len(names):
        raise ValueError(f"two pictures of one name: {sorted(name for name in names if names.count(name) > 1)}")
    return cases
