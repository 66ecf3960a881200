"""`python -m sppruner_vllm.demo.training`: run one stage of training, or all of them and write the model."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from sppruner_vllm.demo import places
from sppruner_vllm.demo_model import CHECKPOINT

from .export import export
from .run import train
from .stages import STAGES
from .wild import WILD_STAGES


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sppruner_vllm.demo.training", description=__doc__)
    stages = {**STAGES, **WILD_STAGES}
    parser.add_argument("stage", nargs="?", choices=stages, help="default: the demo model's own, then write it")
    parser.add_argument("--folder", type=Path, default=places.TRAINING, help="checkpoints; default: %(default)s")
    parser.add_argument("--steps", type=int, help="steps of each stage; default: the stage's own")
    parser.add_argument("--threads", type=int, help="processor threads; default: all")
    parser.add_argument("--out", type=Path, default=CHECKPOINT, help="the model; default: %(default)s")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    for name in [options.stage] if options.stage else STAGES:
        train(stages[name], options.folder, options.steps)
    if not options.stage:
        export(options.folder, options.out)
        print(options.out)


if __name__ == "__main__":
    main()
