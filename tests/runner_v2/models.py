"""Whom both model runners are asked of: the demo model, and the tiny model of each other family."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scenarios import CHUNKS, ENGINES, SHORT, UNREAD, VIDEOS, WHOLE, Engine

from beds import UNTRAINED
from sppruner_vllm import demo_model


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """checkpoint: writes it to a folder that is not there yet, or names another. engines: on which it is asked."""

    name: str
    checkpoint: Callable[[Path], Path]
    engines: tuple[Engine, ...]


MODELS: Final = (
    Model("demo", lambda _: demo_model.CHECKPOINT, ENGINES),
    *(
        Model(
            bed.name,
            bed.build,
            (SHORT if bed.reads else UNREAD, WHOLE, CHUNKS, *([VIDEOS] if bed.videos else [])),
        )
        for bed in UNTRAINED
    ),
)
"""`make test-v2` asks all of them on all their engines; every run of the tests asks the first one on SHORT."""
