"""`make bench-overhead`: what the plugin costs at keep ratio 1, against vLLM without it.

Keep ratio 1 promises stock vLLM, speed included. Each run is a process of its own, because a plugin is either loaded or
not; stock and plugin runs take turns, so that a drifting machine slows both.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from sppruner_vllm.demo.tiny_model import build_tiny_model

REQUESTS = 8
NEW_TOKENS = 128
PHASES = ("prefill", "answer")


def measure(model: str, repeats: int) -> dict[str, list[float]]:
    """Seconds of `repeats` batches, after one not counted: prefill of new images, then whole answers about them."""
    from vllm import LLM, SamplingParams

    llm = LLM(model=model, dtype="float32", enforce_eager=True, max_model_len=4096, enable_prefix_caching=False)
    random = np.random.default_rng(0)
    seconds: dict[str, list[float]] = {phase: [] for phase in PHASES}
    for _ in range(repeats + 1):
        chats = []
        for _ in range(REQUESTS):
            picture = Image.fromarray(random.integers(0, 256, (336, 336, 3), dtype=np.uint8))
            parts = [{"type": "image_pil", "image_pil": picture}, {"type": "text", "text": "What is this?"}]
            chats.append([{"role": "user", "content": parts}])
        for phase, tokens in zip(PHASES, (1, NEW_TOKENS), strict=True):
            llm.enqueue_chat(chats, SamplingParams(max_tokens=tokens, temperature=0, ignore_eos=True), use_tqdm=False)
            started = time.perf_counter()
            llm.wait_for_completion(use_tqdm=False)
            seconds[phase].append(time.perf_counter() - started)
    return {phase: values[1:] for phase, values in seconds.items()}


def run(model: Path, repeats: int, plugins: str) -> dict[str, float]:
    """Median seconds per phase, from a process in which VLLM_PLUGINS names `plugins`."""
    environment = {
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_LOGGING_LEVEL": "ERROR",
        **os.environ,
        "VLLM_PLUGINS": plugins,
    }
    command = [sys.executable, "-m", __spec__.name, "--measure", str(model), "--repeats", str(repeats)]
    done = subprocess.run(  # noqa: S603 (our own arguments)
        command, env=environment, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    found: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return {phase: statistics.median(values) for phase, values in found.items()}


def report(stock: Sequence[dict[str, float]], plugin: Sequence[dict[str, float]]) -> None:
    table = Table(
        "phase", "stock, s", "plugin, s", "plugin / stock", "min", "max", title="Keep ratio 1, random weights"
    )
    for phase in PHASES:
        pairs = [(one[phase], two[phase]) for one, two in zip(stock, plugin, strict=True)]
        shares = [two / one for one, two in pairs]
        medians = [statistics.median(values) for values in (*zip(*pairs, strict=True), shares)]
        table.add_row(phase, *(f"{value:.3f}" for value in (*medians, min(shares), max(shares))))
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-overhead", description=__doc__)
    parser.add_argument("--model", type=Path, default=Path(".cache/demo-model"), help="folder of the demo model")
    parser.add_argument("--pairs", type=int, default=5, help="stock and plugin processes, in turn")
    parser.add_argument("--repeats", type=int, default=9, help="counted batches per process")
    parser.add_argument("--measure", metavar="MODEL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.repeats)))
        return
    model = build_tiny_model(options.model)
    stock, plugin = [], []
    for _ in track(range(options.pairs), description="Process pairs", console=Console(stderr=True)):
        stock.append(run(model, options.repeats, ""))
        plugin.append(run(model, options.repeats, "sppruner"))
    report(stock, plugin)


if __name__ == "__main__":
    main()
