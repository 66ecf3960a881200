"""Writes a complete, tiny Qwen2.5-VL checkpoint with seeded random weights.

It has every mechanism of the real model (window and full vision attention, 3-D positions, Qwen2.5-VL's image limits) at
a few million parameters. It has learnt nothing: its answers are noise, only counts and timings mean something.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Final

from .tiny_spec import TinyModelSpec

STAMP: Final = "tiny-model.json"
USUAL: Final = TinyModelSpec()


def build_tiny_model(folder: Path, spec: TinyModelSpec = USUAL) -> Path:
    """Write the checkpoint of `spec` to `folder`, unless it is there already.

    Written beside the target and moved into place, so that an interrupted build leaves no half model.

    Args:
        folder: replaced when it holds another spec or an older version.
        spec: sizes and seed; the same spec gives the same bytes.

    Returns:
        `folder`.
    """
    if is_built(folder, spec):
        return folder
    from .checkpoint import write_checkpoint  # late: finding a finished model takes no torch

    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        draft = Path(scratch) / "model"
        write_checkpoint(draft, spec)
        (draft / STAMP).write_text(spec.stamp)
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)
    return folder


def is_built(folder: Path, spec: TinyModelSpec = USUAL) -> bool:
    """Whether `folder` holds a finished checkpoint of exactly this spec and builder version."""
    stamp = folder / STAMP
    return stamp.is_file() and stamp.read_text() == spec.stamp
