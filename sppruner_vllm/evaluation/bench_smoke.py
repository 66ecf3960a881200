"""`make bench-smoke`: prefill at a keep ratio against full prefill and against the ideal, on random weights.

Random weights show speed, never quality. The ideal is what a free selection would reach: the encoder's time, which no
reduction behind it can save, plus the kept share of the language model's time.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from sppruner_vllm.demo.arithmetic import fast_dtype
from sppruner_vllm.demo.tiny_model import build_tiny_model
from sppruner_vllm.demo.tiny_spec import TinyModelSpec

from .prefill import Bench, Prefill

SPEC = TinyModelSpec(
    hidden=1024,
    layers=16,
    heads=16,
    kv_heads=4,
    intermediate=4096,
    vision_hidden=512,
    vision_depth=8,
    vision_heads=8,
    vision_intermediate=1408,
    dtype="bfloat16",
)


def ratios(full: Sequence[Prefill], reduced: Sequence[Prefill], kept_share: float) -> dict[str, list[float]]:
    """Ratios of each pair of runs.

    Args:
        full, reduced: runs at ratio 1 and at the keep ratio, pair by pair.
        kept_share: retained over original visual tokens, K/N.

    Returns:
        Per name, one ratio per pair: time of the reduced run over time of the full one, ideal over full, reduced over
        ideal, and selection over the language-model time it saved.
    """
    pairs = list(zip(full, reduced, strict=True))
    ideal = [one.encoder + kept_share * one.language_model for one, _ in pairs]
    return {
        "reduced / full": [two.total / one.total for one, two in pairs],
        "ideal / full": [best / one.total for best, (one, _) in zip(ideal, pairs, strict=True)],
        "reduced / ideal": [two.total / best for best, (_, two) in zip(ideal, pairs, strict=True)],
        "selection / saved": [two.selection / (one.language_model - two.language_model) for one, two in pairs],
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-smoke", description=__doc__)
    parser.add_argument("--model", type=Path, default=Path(".cache/bench-model"), help="folder of the random model")
    parser.add_argument("--keep-ratio", type=float, default=0.222)
    parser.add_argument("--pixels", type=int, default=1008, help="side of the square picture; 1008 is 1296 tokens")
    parser.add_argument("--pairs", type=int, default=7, help="counted pairs of runs, after one that is not counted")
    parser.add_argument("--dtype", help="default: bfloat16 where this machine has units for it, else float32")
    parser.add_argument("--out", type=Path, default=Path(".cache/bench-smoke.json"), help="every run, as JSON")
    options = parser.parse_args()

    dtype = options.dtype or str(fast_dtype("cuda" if torch.cuda.is_available() else "cpu")).removeprefix("torch.")
    bench = Bench(build_tiny_model(options.model, SPEC), options.pixels, dtype)
    full, reduced = [], []
    for _ in track(range(options.pairs + 1), description="Prefill pairs", console=Console(stderr=True)):
        full.append(bench.prefill(1.0))
        reduced.append(bench.prefill(options.keep_ratio))
    full, reduced = full[1:], reduced[1:]
    original = (options.pixels // 28) ** 2
    retained = original - full[0].prompt_tokens + reduced[0].prompt_tokens
    found = ratios(full, reduced, retained / original)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    runs = {"full": [asdict(run) for run in full], "reduced": [asdict(run) for run in reduced]}
    facts = {"machine": platform.machine(), "original": original, "retained": retained, "dtype": dtype}
    options.out.write_text(json.dumps({**facts, "ratios": found, "runs": runs}, indent=2))
    _report(full, reduced, found, f"{original} → {retained} visual tokens, {options.pairs} pairs, {dtype}")


def _report(full: Sequence[Prefill], reduced: Sequence[Prefill], found: dict[str, list[float]], title: str) -> None:
    parts: dict[str, Callable[[Prefill], float]] = {
        "prefill": lambda run: run.total,
        "encoder": lambda run: run.encoder,
        "selection": lambda run: run.selection,
        "language model": lambda run: run.language_model,
    }
    console = Console()
    times = Table("seconds, median", "ratio 1", "reduced", title=title)
    for name, part in parts.items():
        times.add_row(name, *(f"{statistics.median(map(part, runs)):.4f}" for runs in (full, reduced)))
    console.print(times)
    table = Table("ratio of pairs", "median", "min", "max", title="Random weights: speed only, no quality")
    for name, values in found.items():
        table.add_row(name, f"{statistics.median(values):.3f}", f"{min(values):.3f}", f"{max(values):.3f}")
    console.print(table)


if __name__ == "__main__":
    main()
