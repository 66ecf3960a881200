"""Times what a model does: whole prefills, their parts, the selection by itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .device import wait
from .model import Model
from .shapes import AFTER, BEFORE, MERGE, QUESTION, Work


class Bench:
    """Times the prefills of one model."""

    def __init__(self, model: Model, work: Work) -> None:
        self.model, self.work = model, work
        generator = torch.Generator().manual_seed(0)
        device, dtype = model.device, model.dtype
        patches = work.tokens * MERGE**2
        # One picture's pixels for all of them: what is in them costs nothing.
        pixels = torch.randn(1, patches, 3 * 2 * 14**2, generator=generator).to(device, dtype)
        self._pixels = pixels.expand(work.images, -1, -1)
        ids = torch.randint(model.shape.language.vocabulary, (work.images, BEFORE + AFTER), generator=generator)
        self._text = model.language.embed_tokens(ids.to(device))
        at_once = max(1, work.step // work.tokens)
        self._steps = [slice(start, start + at_once) for start in range(0, work.images, at_once)]

    def whole(self, kept: int | None, survivors: int | None = None) -> float:
        """Seconds of all requests' prefill; None keeps every token, and all of them to the encoder's end."""
        return self._timed(lambda: [self._finish(step, self._encode(step, survivors), kept) for step in self._steps])

    def encoder(self) -> float:
        return self._timed(lambda: [self._encode(step) for step in self._steps])

    def language_model(self) -> float:
        """Seconds of the language model's part at ratio 1."""
        rows = self._encode(self._steps[0])
        return self._timed(lambda: [self._finish(step, rows[: len(self._text[step])], None) for step in self._steps])

    def selection(self, kept: int) -> tuple[int, float]:
        """Pictures of a step, and the seconds of selecting among their tokens."""
        rows = self._encode(self._steps[0])
        return len(rows), self._timed(lambda: self._select(self._steps[0], rows, kept))

    def _encode(self, step: slice, survivors: int | None = None) -> Tensor:
        return self.model.encode(self._pixels[step], self.work.side, survivors, self.work.cut_block)

    def _select(self, step: slice, rows: Tensor, kept: int) -> Tensor:
        return self.model.select(rows, self._text[step, BEFORE : BEFORE + QUESTION], self.work.side, kept)

    def _finish(self, step: slice, rows: Tensor, kept: int | None) -> Tensor:
        chosen = None if kept is None else self._select(step, rows, kept)
        return self.model.prefill(rows, self._text[step], chosen, self.work.side)

    def _timed(self, work: Callable[[], Any]) -> float:
        wait(self.model.device)
        started = time.perf_counter()
        work()
        wait(self.model.device)
        return time.perf_counter() - started
