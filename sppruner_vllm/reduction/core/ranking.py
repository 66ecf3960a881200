"""From a batch's scores, or from a shape alone, to one `Selection` per image.

What every method ends with, so that all keep the same promises: exactly the budget, raster order, ties to the lower
index.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from . import batch as batches
from . import exact
from .batch import Batch
from .types import ImageTokens, Selection


def in_groups(images: Sequence[ImageTokens], choose: Callable[[Batch], list[Selection]]) -> list[Selection]:
    """Selections in the order of the images, which are padded and handled in groups of like size."""
    if not images:
        return []
    found: dict[int, Selection] = {}
    for group in batches.sub_batches(images):
        found.update(zip(group, choose(batches.pad([images[i] for i in group])), strict=True))
    return [found[i] for i in range(len(images))]


def by_priority(
    batch: Batch,
    priority: Tensor,
    *,
    key: Tensor | None = None,
    focus: Tensor | None = None,
    saliency: Tensor | None = None,
    relevance: Tensor | None = None,
) -> list[Selection]:
    """The tokens of highest priority.

    Args:
        priority: (B, N), no NaN; finite for the tokens of an image, overwritten in padding.
        key: (B, N) from `Batch.keys` that ranks as the priority does in float32, or None. Saves sorting all.
        focus: (B, N) bool, or None for no focus.
        saliency, relevance: (B, N) in [0, 1] to show, or None.
    """
    scores = batch.within(priority, -torch.inf).to(torch.float32)
    budgets = [image.budget for image in batch.images]
    if key is None:
        kept = exact.falling(scores)[:, : max(budgets)]
    else:
        kept = batch.within(key, -1).topk(max(budgets), dim=1, sorted=min(budgets) < max(budgets)).indices
    if min(budgets) < max(budgets):
        # Beyond an image's own budget stands its padding, or its last token: behind all that it keeps, and cut off.
        kept = torch.where(batch.index[: max(budgets)] < batch.budget, kept, scores.shape[1])
    kept = kept.sort(dim=1).values
    focus = torch.zeros_like(batch.real) if focus is None else focus
    is_focus = focus.gather(1, kept.clamp_max(scores.shape[1] - 1))
    salient = (torch.zeros_like(scores) if saliency is None else saliency).to(torch.float32)
    shown = None if relevance is None else relevance.to(torch.float32)
    return [
        Selection(
            kept=kept[i, : image.budget],
            is_focus=is_focus[i, : image.budget],
            saliency=salient[i, : image.rows.shape[0]],
            relevance=None if shown is None or not image.words else shown[i, : image.rows.shape[0]],
            scores=scores[i, : image.rows.shape[0]],
        )
        for i, image in enumerate(batch.images)
    ]


def by_picks(batch: Batch, picks: Sequence[Tensor], relevance: Tensor | None = None) -> list[Selection]:
    """The tokens that a greedy method picked; the first pick has score 1, the last 1 / K, all others 0.

    Args:
        picks: per step the (B, 1) int64 token picked, as many steps as the largest budget; an image's steps beyond its
            own budget are ignored.
        relevance: as for `by_priority`.
    """
    order = torch.cat(list(picks), dim=1)
    step = torch.arange(order.shape[1], device=order.device)
    # An image that has run out of tokens repeats one, so a later pick must not lower what an earlier one scored.
    worth = ((batch.budget - step).clamp_min(0).to(torch.float64) / batch.budget).to(torch.float32)
    scores = torch.zeros(batch.real.shape, device=order.device).scatter_reduce_(1, order, worth, "amax")
    return by_priority(batch, scores, relevance=relevance)


def from_shape(image: ImageTokens, choose: Callable[[int, int, int], Tensor]) -> Selection:
    """What `choose` takes from a grid of that height, width and budget; the kept tokens score 1, the others 0."""
    kept = choose(*image.grid, image.budget)
    scores = torch.zeros(image.rows.shape[0], device="cpu").index_fill_(0, kept, 1.0)
    device = image.rows.device
    return Selection(
        kept=batches.upload(kept.clone(), device),
        is_focus=torch.zeros(image.budget, dtype=torch.bool, device=device),
        saliency=torch.zeros(image.rows.shape[0], device=device),
        relevance=None,
        scores=batches.upload(scores, device),
    )


def first_best(key: Tensor, open_tokens: Tensor) -> Tensor:
    """(B, 1) int64, the open token of highest key, the lower index among equals; it is closed, in place.

    Args:
        key: (B, N) without NaN. open_tokens: (B, N) bool.
    """
    pick = torch.where(open_tokens, key, -torch.inf).argmax(1, keepdim=True)
    open_tokens.scatter_(1, pick, False)
    return pick


def rows_of(values: Tensor, pick: Tensor) -> Tensor:
    """(B, M, D) rows of the picked tokens, copied whole: element by element takes a CPU ten times as long.

    Args:
        values: (B, N, D). pick: (B, M) int64.
    """
    if len(values) > 1:
        pick = pick + torch.arange(0, len(values) * values.shape[1], values.shape[1], device=pick.device).unsqueeze(1)
    rows: Tensor = values.flatten(0, 1).index_select(0, pick.flatten()).unflatten(0, pick.shape)
    return rows
