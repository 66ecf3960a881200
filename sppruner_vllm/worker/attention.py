"""Column attention: how much a vision encoder's last full-attention block looks at each visual token.

vLLM's attention kernels keep no weights, so they are computed once more from that block's own rotated queries and keys,
seen by a hook. Where no hook fires (a compiled encoder, which start-up refuses; images given as embeddings) there is no
attention. docs/develop/architecture.md, "Column attention".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor
from vllm.distributed import tensor_model_parallel_all_reduce
from vllm.utils.torch_utils import async_tensor_h2d

MOST_QUERIES: Final = 1024
"""Queries that are averaged over. An image of more patches is represented by as many, evenly spread, so that the cost
grows with its patches and not with their square."""

MOST_WEIGHTS: Final = 2**24
"""Attention weights held at once, in float32: 64 MiB."""


class ColumnAttention:
    """Watches one vision tower. It costs nothing between `watching` blocks."""

    def __init__(self, tower: Any) -> None:
        self._tower = tower
        self._grids: Sequence[tuple[int, ...]] = ()
        self._found: list[Tensor] = []
        last = max(tower.fullatt_block_indexes)
        tower.blocks[last].attn.attn.register_forward_pre_hook(self._on_attention, with_kwargs=True)

    @contextmanager
    def watching(self, grids: Sequence[tuple[int, ...]]) -> Iterator[list[Tensor]]:
        """Compute the attention of the images that are encoded inside the block.

        Args:
            grids: (1, height, width) of each in patches.

        Yields:
            A list that holds, after the encoder ran, (N,) float32 per image as `visual_tokens_attention` gives it; it
            stays empty when the images came as embeddings.
        """
        self._grids, self._found = grids, []
        try:
            yield self._found
        finally:
            self._grids = ()

    def _on_attention(self, _: Any, __: Any, inputs: dict[str, Any]) -> None:
        if not self._grids:
            return
        # (1, P, heads, d) each, the patches of all images in the order of the encoder's windows.
        queries, keys = inputs["query"][0], inputs["key"][0]
        sizes = [frames * height * width for frames, height, width in self._grids]
        for grid, query, key in zip(self._grids, queries.split(sizes), keys.split(sizes), strict=True):
            windowed = visual_tokens_attention(query, key, self._tower.spatial_merge_unit)
            if self._tower.tp_size > 1:
                # Each rank has as many heads as the others: the mean over all is the mean of their means.
                windowed = tensor_model_parallel_all_reduce(windowed) / self._tower.tp_size
            window_index = async_tensor_h2d(self._tower.get_rope_by_thw(*grid)[2], windowed.device)
            self._found.append(torch.empty_like(windowed).index_copy_(0, window_index, windowed))


def visual_tokens_attention(query: Tensor, key: Tensor, merged: int) -> Tensor:
    """Attention that each visual token receives: the mean over heads and queries, summed over its patches.

    Args:
        query, key: (P, heads, d) of one image, rotated, any floating dtype; the patches of a token are neighbours.
        merged: patches that the encoder merges into one visual token.

    Returns:
        (P // merged,) float32 in the order of the patches; it sums to 1.
    """
    patches, heads, width = query.shape
    asked = min(patches, MOST_QUERIES)
    chosen = torch.arange(asked, device=query.device) * patches // asked
    queries = query.index_select(0, chosen).transpose(0, 1).float() * width**-0.5
    keys = key.permute(1, 2, 0).float()
    received = torch.zeros(patches, dtype=torch.float32, device=query.device)
    for part in queries.split(max(1, MOST_WEIGHTS // (heads * patches)), dim=1):
        received += (part @ keys).softmax(-1).sum((0, 1))
    return (received / (heads * asked)).view(-1, merged).sum(1)
