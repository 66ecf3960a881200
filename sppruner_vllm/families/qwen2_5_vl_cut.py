"""Qwen2.5-VL's vision tower with fewer tokens: repeats never enter it, and behind one of its blocks some go on alone.

Window blocks see what is left of each window, at the original rotary positions. Blocks that look at the whole picture
still show all of it: tokens that are left out take part as keys and values, as what they would be by then
(`reduction/repeats.py`, `reduction/survivors.py`). At the last such block they are back, and from there on all is
upstream's own: nothing behind the tower knows of it.
docs/develop/algorithm.md, "The cut inside the encoder" and "Repeats before the encoder".
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from sppruner_vllm.family import LeftOut
from sppruner_vllm.reduction.repeats import first_alike
from sppruner_vllm.reduction.survivors import Survivors, joined, survivors

from .qwen2_5_vl_tower import TowerRun


def encode_cut(
    tower: Any,
    pixels: Tensor,
    patches: Sequence[Sequence[int]],
    left_out: Sequence[LeftOut],
    block: int | None,
    through: list[Tensor],
) -> list[Tensor]:
    """Rows of pictures of which not all tokens go through all blocks.

    Args:
        tower: upstream's vision tower.
        pixels: (P, C) of all pictures, as upstream takes them. patches: (1, height, width) of each, in patches.
        left_out: what is left out of each; all have repeats, or none has.
        block: behind which tokens are dropped, counted from 0, until the last block that looks at the whole picture.
        through: gets (N,) bool of each picture, the tokens that went through every block, in raster order.

    Returns:
        (N, D) of each picture, in raster order.
    """
    run, last = TowerRun(tower, patches), max(tower.fullatt_block_indexes)
    entering = _entering(left_out, run)
    states = run.entered(pixels, entering.places)
    part = None if entering.places is None else _Part(run, entering, run.tokens(states).flatten(1))
    for number in range(last):
        if part is None:
            states = run.upstream(number, states)
        else:
            part.go_through(number)
        if number == block:
            tokens = run.tokens(states if part is None else part.now).flatten(1)
            part = _Part(run, entering, tokens, _surviving(tokens, entering.sizes, left_out))
    if part is not None:
        states = part.restored()
        through.extend(part.went_through())
    for number in range(last, len(tower.blocks)):
        states = run.upstream(number, states)
    return run.left(states)


def repeats(tower: Any, pixels: Tensor, patches: Sequence[Sequence[int]]) -> list[Tensor | None]:
    """Which tokens repeat another of their window, pixel for pixel.

    Args:
        tower, pixels, patches: as for `encode_cut`.

    Returns:
        Of each picture (N,) int64 on the host, in the tower's order: the place of the first token of the window that is
        the same. None for a picture without a repeat.
    """
    run = TowerRun(tower, patches)
    units = pixels.view(-1, run.merged, pixels.shape[1])
    ends = run.window_ends()
    found = first_alike(units, run.order.to(pixels.device), [after - before for before, after in pairwise([0, *ends])])
    starts = accumulate(run.sizes, initial=0)
    each = [own - start for own, start in zip(found.split(run.sizes), starts, strict=False)]
    return [own if bool((own != torch.arange(len(own))).any()) else None for own in each]


class _Entering:
    """Which tokens enter the tower.

    places: (U,) int64, ascending, in the tower's order; None for all. sizes: how many of each picture.
    """

    def __init__(self, run: TowerRun, firsts: Sequence[Tensor] | None) -> None:
        """Args:
        firsts: for each picture, as `repeats` gives them; None lets all tokens enter.
        """
        self.places: Tensor | None = None
        self.sizes = run.sizes
        if firsts is None:
            return
        offsets = accumulate(run.sizes, initial=0)
        first = torch.cat([own + offset for own, offset in zip(firsts, offsets, strict=False)])
        enters = first == torch.arange(len(first))
        self.sizes = [int(own.sum()) for own in enters.split(run.sizes)]
        device = run.order.device
        self.places = enters.nonzero().flatten().to(device)
        self._stands_for = (enters.cumsum(0) - 1)[first].to(device)

    def everyone(self, tokens: Tensor) -> Tensor:
        """All tokens (N, ...), of those that entered (U, ...): a repeat is as the one that it repeats."""
        return tokens if self.places is None else tokens.index_select(0, self._stands_for)

    def among_all(self, kept: Tensor) -> Tensor:
        """Places among all tokens, of places among those that entered."""
        return kept if self.places is None else self.places.index_select(0, kept)


def _entering(left_out: Sequence[LeftOut], run: TowerRun) -> _Entering:
    firsts = [one.first for one in left_out if one.first is not None]
    return _Entering(run, firsts or None)


def _surviving(tokens: Tensor, sizes: Sequence[int], left_out: Sequence[LeftOut]) -> Survivors:
    """Who goes on behind a cut, among the tokens that entered."""
    most = [size if one.survive is None else min(size, one.survive) for size, one in zip(sizes, left_out, strict=True)]
    return joined([survivors(own, count) for own, count in zip(tokens.split(sizes), most, strict=True)], sizes)


class _Part:
    """Some of the tokens on their way through the blocks."""

    def __init__(self, run: TowerRun, entering: _Entering, tokens: Tensor, cut: Survivors | None = None) -> None:
        """Args:
        tokens: (U, patches * F) of those that entered, as they are here. cut: who goes on from here; None for all.
        """
        self._run, self._entering, self._cut, self._start = run, entering, cut, tokens
        kept = torch.arange(len(tokens), device=tokens.device) if cut is None else cut.kept
        self.now = tokens.index_select(0, kept).view(len(kept) * run.merged, 1, -1)
        self._places = entering.among_all(kept)
        self._windows, self._counts = run.windows_of(self._places)
        self._cos, self._sin = (self._of_part(run.tokens(table)).flatten(0, 1) for table in (run.cos, run.sin))

    def go_through(self, number: int) -> None:
        """One more block; the states change, in place of those before."""
        run = self._run
        if number not in run.tower.fullatt_block_indexes:
            self.now = run.through(number, self.now, self._windows, self._cos, self._sin)
            return
        block = run.tower.blocks[number]
        seen = self._look_at_whole(block.attn, block.norm1(self._of_entered()))
        normed, states = block.norm2(self.now, residual=seen)
        self.now = states + block.mlp(normed)

    def went_through(self) -> list[Tensor]:
        """(N,) bool of each picture, the tokens of the part, in raster order."""
        order = self._run.order.to(self._places.device)
        among = torch.zeros(len(order), dtype=torch.bool, device=order.device)
        return list(among.index_fill_(0, order.index_select(0, self._places), True).split(self._run.sizes))

    def restored(self) -> Tensor:
        """(P, 1, F) of all patches as they are now."""
        return self._run.spread(self._entering.everyone, self._of_entered())

    def _of_entered(self) -> Tensor:
        """(U * patches, 1, F) of all that entered, as they are now."""
        if self._cut is None:
            return self.now
        return self._cut.restored(self._start, self._run.tokens(self.now).flatten(1)).view(-1, 1, self.now.shape[-1])

    def _look_at_whole(self, attention: Any, states: Tensor) -> Tensor:
        """What an attention over whole pictures gives the part; queries are its alone."""
        run = self._run
        # A repeat has the projections of what it repeats, turned to its own place.
        mixed = run.spread(self._entering.everyone, attention.qkv(states)[0])
        query, key, value = mixed.view(len(mixed), 3, -1, attention.hidden_size_per_attention_head).unbind(1)
        turned = attention.apply_rotary_emb(torch.stack((query, key)), run.cos, run.sin)
        query, key = self._of_part(turned[0].view(-1, run.merged, *turned.shape[2:])).flatten(0, 1), turned[1]
        sizes = [size * run.merged for size in run.sizes]
        images = list(zip(query.split(self._counts), key.split(sizes), value.split(sizes), strict=True))
        seen = [_attended(*parts, attention.attn.scale) for parts in images]
        out: Tensor = attention.proj(torch.cat(seen).flatten(1).unsqueeze(1))[0]
        return out

    def _of_part(self, tokens: Tensor) -> Tensor:
        return tokens.index_select(0, self._places)


def _attended(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """(Q, heads, d) of a query (Q, heads, d) that looks at all of a picture, key and value (P, heads, d)."""
    one, other, carried = (part.transpose(0, 1).unsqueeze(0) for part in (query, key, value))
    return scaled_dot_product_attention(one, other, carried, scale=scale)[0].transpose(0, 1)
