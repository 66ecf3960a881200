"""`make bench-gpu`: prefill of Qwen2.5-VL at several keep ratios on one device, with PyTorch and transformers alone.

Models of the real shapes with random weights: speed, never quality. For each shape, size of picture and number of
requests, one picture each, it times stock prefill (every visual token), ours at each ratio (encoder, selection,
language model at the original positions), the same with the cut inside the encoder, and the selection by itself. The
ideal beside it is the encoder's own time plus the language model's, each scaled by its operations. No engine takes
part: nothing is scheduled, no cache is filled.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from .measure import measure
from .shapes import SHAPES


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-gpu", description=__doc__)
    parser.add_argument("--shapes", nargs="+", choices=sorted(SHAPES), default=["3B", "7B"])
    parser.add_argument("--tokens", nargs="+", type=int, default=[1296, 4096], help="of a picture: squares")
    parser.add_argument("--images", nargs="+", type=int, default=[1, 8, 32], help="requests, one picture each")
    parser.add_argument("--keep-ratios", nargs="+", type=float, default=[1.0, 0.333, 0.222, 0.111])
    parser.add_argument("--rounds", type=int, default=5, help="counted ones, after one that is not")
    parser.add_argument("--step", type=int, default=16384, help="most visual tokens that are encoded at once")
    parser.add_argument("--cut-block", type=int, default=7, help="behind which tokens are dropped, in runs with a cut")
    parser.add_argument("--cut-survivors", type=float, default=2.0, help="tokens that go on, for each token kept")
    parser.add_argument("--out", type=Path, default=Path(".cache/bench-gpu.json"))
    options = parser.parse_args()
    gpu = torch.cuda.is_available()
    found = measure(
        options.shapes,
        options.tokens,
        options.images,
        options.keep_ratios,
        rounds=options.rounds,
        step=options.step,
        cut_block=options.cut_block,
        cut_survivors=options.cut_survivors,
        device=torch.device("cuda" if gpu else "cpu"),
        dtype=torch.bfloat16 if gpu else torch.float32,
    )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(found, indent=2))
    print(f"{options.out}: {len(found['prefill'])} prefills, {len(found['skipped'])} skipped")


if __name__ == "__main__":
    main()
