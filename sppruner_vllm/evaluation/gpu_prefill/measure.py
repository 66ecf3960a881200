"""Every shape, size of picture and number of requests, as one report."""

from __future__ import annotations

import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import torch
import transformers

from sppruner_vllm.reduction import DEFAULT_METHOD

from .device import release
from .model import Model
from .rounds import Timing, time_prefill, time_selection
from .shapes import SHAPES, Work
from .summary import summary


def measure(
    shapes: Sequence[str],
    sizes: Sequence[int],
    images: Sequence[int],
    ratios: Sequence[float],
    *,
    rounds: int,
    step: int,
    cut_block: int,
    cut_survivors: float,
    device: torch.device,
    dtype: torch.dtype,
) -> dict[str, Any]:
    """Everything, ready for JSON; what does not fit into the device's memory is named as skipped."""
    prefill: list[dict[str, Any]] = []
    selection: list[dict[str, Any]] = []
    skipped: list[dict[str, Any]] = []
    ratios = sorted({1.0, *ratios}, reverse=True)
    for name in shapes:
        try:
            model = Model(SHAPES[name], device, dtype)
        except torch.OutOfMemoryError:
            skipped.append({"shape": name, "reason": "out of memory: weights"})
            release(device)
            continue
        for tokens in sizes:
            for count in images:
                work = Work(name, tokens, count, step, cut_block, cut_survivors)
                try:
                    with torch.inference_mode():
                        timings = time_prefill(model, work, ratios, rounds)
                        selection += time_selection(model, work, ratios, rounds)
                    prefill += [_told(timing, timings[0]) for timing in timings]
                except torch.OutOfMemoryError:
                    skipped.append({**asdict(work), "reason": "out of memory"})
                release(device)
        del model
        release(device)
    return {"facts": _facts(device, dtype), "prefill": prefill, "selection": selection, "skipped": skipped}


def _facts(device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    gpu = device.type == "cuda"
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "device": torch.cuda.get_device_name(device)
        if gpu
        else f"{platform.machine()}, {torch.get_num_threads()} threads",
        "memory_bytes": torch.cuda.get_device_properties(device).total_memory if gpu else None,
        "dtype": str(dtype).removeprefix("torch."),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "method": DEFAULT_METHOD,
        "weights": "random: speed, never quality",
    }


def _told(timing: Timing, stock: Timing) -> dict[str, Any]:
    to_stock = [one / other for one, other in zip(timing.seconds, stock.seconds, strict=True)]
    to_ideal = [one / other for one, other in zip(timing.seconds, timing.ideal, strict=True)]
    return {
        **asdict(timing.work),
        "keep_ratio": timing.keep_ratio,
        "kept": timing.kept,
        "survivors": timing.survivors,
        **summary(timing.seconds),
        "over_stock": statistics.median(to_stock),
        "over_ideal": statistics.median(to_ideal),
        "ideal": timing.ideal,
        "encoder": timing.encoder,
        "language_model": timing.language_model,
        "peak_bytes": timing.peak_bytes,
    }
