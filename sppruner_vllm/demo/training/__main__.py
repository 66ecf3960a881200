"""`python -m sppruner_vllm.demo.training`: run one stage of training, or all of a model's and write the model.

A run goes on from its last checkpoint. SIGTERM stops it after the step at hand, with a checkpoint. Two runs in one
folder would spoil each other's: the second one ends at once.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType

import torch

from sppruner_vllm.demo import places
from sppruner_vllm.demo_model import CHECKPOINT

from .background import alone_in, start
from .export import export, export_wild
from .run import train
from .stages import STAGES
from .wild import WILD_STAGES

_stops: list[int] = []
"""Signals that asked for an end."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sppruner_vllm.demo.training", description=__doc__)
    stages = {**STAGES, **WILD_STAGES}
    parser.add_argument("stage", nargs="?", choices=stages, help="default: all of the model's, then write it")
    parser.add_argument("--wild", action="store_true", help="all of the wild test bed's, not of the demo model")
    parser.add_argument("--folder", type=Path, help="checkpoints; default: .cache/train-demo or .cache/train-wild")
    parser.add_argument("--steps", type=int, help="steps of each stage; default: the stage's own")
    parser.add_argument("--threads", type=int, help="processor threads; default: all")
    parser.add_argument("--out", type=Path, help="the model; default: where the demo or the evaluation looks for it")
    parser.add_argument("--background", action="store_true", help="start it where only idle time is used, and return")
    options = parser.parse_args()
    wild = options.wild or options.stage in WILD_STAGES
    folder = options.folder or (places.WILD_TRAINING if wild else places.TRAINING)
    if options.background:
        print(start([argument for argument in sys.argv[1:] if argument != "--background"], folder))
        return
    if options.threads:
        torch.set_num_threads(options.threads)
    signal.signal(signal.SIGTERM, _ask_to_stop)
    with alone_in(folder):
        _run(options, folder, wild=wild)


def _run(options: argparse.Namespace, folder: Path, *, wild: bool) -> None:
    stages = {**STAGES, **WILD_STAGES}
    for name in [options.stage] if options.stage else (WILD_STAGES if wild else STAGES):
        train(stages[name], folder, options.steps, stopped=_asked_to_stop)
        if _asked_to_stop():
            sys.exit(128 + signal.SIGTERM)
    if not options.stage:
        out = options.out or (places.WILD_MODEL if wild else CHECKPOINT)
        (export_wild if wild else export)(folder, out)
        print(out)


def _ask_to_stop(number: int, frame: FrameType | None) -> None:
    _stops.append(number)


def _asked_to_stop() -> bool:
    return bool(_stops)


if __name__ == "__main__":
    main()
