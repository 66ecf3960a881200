"""A step that was tried and is not part of focus_context: merging dropped tokens into context anchors.

Kept for the ablation table, so that leaving it out stays a measured decision. docs/develop/algorithm.md, "Ablations".
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from sppruner_vllm.reduction import Selection


def merged(rows: Tensor, selection: Selection, share: float) -> Tensor:
    """Kept rows, the context ones averaged with the dropped tokens that resemble them most.

    As many dropped tokens as there are context anchors are merged, those of highest priority, each into the anchor it
    resembles most (after FSR, kappa = 1). Focus rows stay as they are, and so do anchors that get none.

    Args:
        rows: (N, D) of the image. share: weight of the mean of the dropped tokens in the new row, in [0, 1].

    Returns:
        (K, D).
    """
    kept = rows[selection.kept].clone()
    anchors = (~selection.is_focus).nonzero().flatten()
    scores = selection.scores.clone()
    scores[selection.kept] = -torch.inf
    dropped = scores.topk(min(len(anchors), len(rows) - len(kept))).indices
    if not len(dropped):
        return kept
    mean = rows.mean(0)
    near, far = functional.normalize(kept[anchors] - mean), functional.normalize(rows[dropped] - mean)
    target = anchors[(far @ near.T).argmax(1)]
    gathered = torch.zeros_like(kept).index_add_(0, target, rows[dropped])
    count = torch.zeros(len(kept), 1).index_add_(0, target, torch.ones(len(dropped), 1))
    absorbing = count > 0
    return torch.where(absorbing, (1 - share) * kept + share * gathered / count.clamp_min(1), kept)
