"""Patches behind a cut inside the encoder, where only the survivors' go on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sppruner_vllm.reduction.survivors import Survivors

from .attending import attended
from .shapes import MERGE


class Behind:
    """Patches behind the cut. now: (images, 4 M, F), the survivors'."""

    def __init__(self, survivors: Survivors, start: Tensor, shape: Sequence[int]) -> None:
        """Args:
        start: (images * N, 4 F) of all tokens at the cut. shape: (images, 4 N, F).
        """
        self._survivors, self._start, self._shape = survivors, start, shape
        self.now = start.index_select(0, survivors.kept).view(shape[0], -1, shape[2])
        present = torch.zeros(len(start), 1, dtype=torch.bool, device=start.device)
        self._present = present.index_fill_(0, survivors.kept, True).expand(-1, MERGE**2)

    def restored(self) -> Tensor:
        """(images, 4 N, F) of all patches as they are now."""
        return self._survivors.restored(self._start, self.now.reshape(-1, self._start.shape[1])).view(*self._shape)

    def of_survivors(self, states: Tensor) -> Tensor:
        """(images, 4 M, ...) of (images, 4 N, ...)."""
        tokens = states.reshape(len(self._start), MERGE**2, *states.shape[2:])
        return tokens.index_select(0, self._survivors.kept).view(len(states), -1, *states.shape[2:])

    def in_windows(self, parts: Sequence[Tensor], window: int) -> Tensor:
        """(images, 4 M, heads, d) that survivors see of the others in their windows of so many tokens.

        Each window keeps its full frame, with the places of the dropped masked: segments of many lengths would need a
        kernel that PyTorch has on some devices only, and the attention of a window costs next to nothing.
        """
        frames = [self._in_frames(part).view(-1, window * MERGE**2, *part.shape[2:]) for part in parts]
        mask = self._present.reshape(-1, 1, 1, window * MERGE**2)
        query, key, value = frames
        seen = attended(query, key, value, mask)
        return self.of_survivors(seen.reshape(len(parts[0]), -1, *seen.shape[2:]))

    def _in_frames(self, part: Tensor) -> Tensor:
        frame = part.new_zeros(len(self._start), MERGE**2, *part.shape[2:])
        return frame.index_copy_(0, self._survivors.kept, part.reshape(-1, MERGE**2, *part.shape[2:]))
