"""`python -m sppruner_vllm.demo.training`: run one stage of training, or all of a model's and write the model.

A run goes on from its last checkpoint. SIGTERM stops it after the step at hand, with a checkpoint. Two runs in one
folder would spoil each other's: the second one ends at once.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final

import torch

from sppruner_vllm.demo import places
from sppruner_vllm.demo_model import CHECKPOINT

from .background import alone_in, start
from .export import export, export_llava, export_wild
from .large import LARGE_STAGES
from .llava import LLAVA_STAGES
from .run import train
from .stages import STAGES, Stage
from .wild import WILD_STAGES

_stops: list[int] = []
"""Signals that asked for an end."""


@dataclass(frozen=True, slots=True)
class _Model:
    """One that is trained here. folder: of its checkpoints. out: where the model is looked for."""

    stages: Mapping[str, Stage[Any]]
    folder: Path
    out: Path
    export: Callable[[Path, Path], None]


_MODELS: Final = {
    "demo": _Model({**STAGES, **LARGE_STAGES}, places.TRAINING, CHECKPOINT, export),
    "wild": _Model(WILD_STAGES, places.WILD_TRAINING, places.WILD_MODEL, export_wild),
    "llava": _Model(LLAVA_STAGES, places.LLAVA_TRAINING, places.LLAVA_MODEL, export_llava),
}
_STAGES: Final = {name: stage for model in _MODELS.values() for name, stage in model.stages.items()}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sppruner_vllm.demo.training", description=__doc__)
    parser.add_argument("stage", nargs="?", choices=_STAGES, help="default: all of the model's, then write it")
    which = parser.add_mutually_exclusive_group()
    for bed in list(_MODELS)[1:]:
        text = f"all of the {bed} test bed's, not of the demo model"
        which.add_argument(f"--{bed}", dest="model", action="store_const", const=bed, default="demo", help=text)
    parser.add_argument("--folder", type=Path, help="checkpoints; default: .cache/train-MODEL")
    parser.add_argument("--steps", type=int, help="steps of each stage; default: the stage's own")
    parser.add_argument("--threads", type=int, help="processor threads; default: all")
    parser.add_argument("--out", type=Path, help="the model; default: where the demo or the evaluation looks for it")
    parser.add_argument("--background", action="store_true", help="start it where only idle time is used, and return")
    options = parser.parse_args()
    model = _MODELS[options.model]
    if options.stage:
        model = next(model for model in _MODELS.values() if options.stage in model.stages)
    folder = options.folder or model.folder
    if options.background:
        print(start([argument for argument in sys.argv[1:] if argument != "--background"], folder))
        return
    if options.threads:
        torch.set_num_threads(options.threads)
    signal.signal(signal.SIGTERM, _ask_to_stop)
    with alone_in(folder):
        _run(options, folder, model)


def _run(options: argparse.Namespace, folder: Path, model: _Model) -> None:
    for name in [options.stage] if options.stage else model.stages:
        train(_STAGES[name], folder, options.steps, stopped=_asked_to_stop)
        if _asked_to_stop():
            sys.exit(128 + signal.SIGTERM)
    if not options.stage:
        out = options.out or model.out
        model.export(folder, out)
        print(out)


def _ask_to_stop(number: int, frame: FrameType | None) -> None:
    _stops.append(number)


def _asked_to_stop() -> bool:
    return bool(_stops)


if __name__ == "__main__":
    main()
