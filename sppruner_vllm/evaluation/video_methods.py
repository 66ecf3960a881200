"""How the tokens of a video may be chosen: as it is served, and what it is compared with.

The comparators choose among all tokens of a video at once, behind the encoder; nothing of them is served, for a prompt
needs to know before the encoder how many tokens each frame keeps. Formulas of `evs` and `vidcom2` are those that vLLM
0.32 has under these names (multimodal/video_prune), brought to an exact budget.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize, softmax

from sppruner_vllm.planning.videos import FrameGrid, VideoAsk, plan_video
from sppruner_vllm.reduction import DEFAULT_METHOD, FocusContextParams, ImageTokens, reduce
from sppruner_vllm.reduction.frames import pixel_changes, repeated

_SCALES: Final = tuple(2.0**power for power in range(-3, 2))
_TEMPERATURE: Final = 0.01
_QUIET_SHARE: Final = 0.5


@dataclass(frozen=True, slots=True)
class Video:
    """A video, encoded, and what is asked of it.

    rows: (N, D), frame after frame. pixels: (N, P), of each token. grid: of the video. budget: tokens that stay.
    asked: its question, by the names of `ImageTokens`. text_mean: (D,) mean embedding of words.
    """

    rows: Tensor
    pixels: Tensor
    grid: FrameGrid
    budget: int
    asked: Mapping[str, Tensor | None]
    text_mean: Tensor

    @property
    def each(self) -> int:
        """Tokens of a frame."""
        return self.grid[1] * self.grid[2]


Choose = Callable[[Video], Tensor]
"""The tokens that stay: (K,) int64, ascending, counted through all frames."""


def served(video: Video) -> Tensor:
    """By what changes in each frame, then by saliency, relevance and repeats inside it."""
    changes = pixel_changes(video.pixels, video.grid[0], video.each)
    return _frame_by_frame(video, _split(video, changes), FocusContextParams())


def served_evenly(video: Video) -> Tensor:
    """As served, but with the same budget for every frame, whatever changes in it."""
    return _frame_by_frame(video, _split(video, None), FocusContextParams())


def served_without_repeats(video: Video) -> Tensor:
    """As served, but a token that repeats the frame before counts like any other."""
    changes = pixel_changes(video.pixels, video.grid[0], video.each)
    return _frame_by_frame(video, _split(video, changes), replace(FocusContextParams(), repeat_discount=0.0))


def uniform(video: Video) -> Tensor:
    """Tokens at even distances, the same number of every frame."""
    kept = _split(video, None)
    chosen = [torch.linspace(0, video.each - 1, count).round().long() for count in kept]
    return _through(chosen, video.each)


def uniform_frames(video: Video) -> Tensor:
    """Whole frames, as evenly spread as there is room for, and the first tokens of one more."""
    whole, rest = divmod(video.budget, video.each)
    shown = torch.linspace(0, video.grid[0] - 1, whole + (rest > 0)).round().long().unique()
    parts = [torch.arange(video.each) + frame * video.each for frame in shown.tolist()]
    return torch.cat(parts)[: video.budget]


def evs(video: Video) -> Tensor:
    """The first frame, then the tokens least like the same place of the frame before."""
    frames = video.rows.reshape(video.grid[0], video.each, -1)
    unlike = 1 - cosine_similarity(frames[1:], frames[:-1], dim=-1)
    first = torch.full((1, video.each), 255.0)
    order = torch.cat([first, unlike]).flatten().argsort(descending=True, stable=True)
    return order[: video.budget].sort().values


def vidcom2(video: Video) -> Tensor:
    """More of frames that are unlike the whole video, of each the tokens least like their frame and the video."""
    count, ratio = video.grid[0], video.budget / len(video.rows)
    quiet = video.rows.var(dim=0, unbiased=False).topk(max(1, int(video.rows.shape[1] * _QUIET_SHARE)), largest=False)
    frames = normalize(video.rows.index_select(1, quiet.indices).reshape(count, video.each, -1), dim=-1)
    to_video = _likeness(frames, frames.mean(dim=(0, 1), keepdim=True))
    alike = to_video + _likeness(frames, frames.mean(dim=1, keepdim=True))
    own = -to_video.mean(dim=1)
    share = softmax((own - own.max()) / _TEMPERATURE, dim=0)
    kept = (ratio * (1 + share - share.mean()) * video.each).round().long().clamp(1, video.each)
    stays = torch.zeros(count, video.each, dtype=torch.bool)
    for frame, tokens in enumerate(kept.tolist()):
        stays[frame, alike[frame].topk(tokens, largest=False).indices] = True
    flat, score = stays.flatten(), alike.flatten()
    while (off := int(flat.sum()) - video.budget) != 0:
        places = flat.nonzero().flatten() if off > 0 else (~flat).nonzero().flatten()
        moved = score[places].topk(abs(off), largest=off > 0).indices
        flat[places[moved]] = off < 0
    return flat.nonzero().flatten()


METHODS: Final[dict[str, Choose]] = {
    "served": served,
    "served, even budgets": served_evenly,
    "served, repeats count": served_without_repeats,
    "uniform": uniform,
    "uniform frames": uniform_frames,
    "evs": evs,
    "vidcom2": vidcom2,
}


def _split(video: Video, changes: Sequence[float] | None) -> tuple[int, ...]:
    ask = VideoAsk("", video.budget / len(video.rows), 1, DEFAULT_METHOD)
    return plan_video(ask, video.grid, changes).kept


def _frame_by_frame(video: Video, kept: Sequence[int], params: FocusContextParams) -> Tensor:
    repeats = repeated(video.rows, video.grid[0]).split(video.each)
    images = [
        ImageTokens(rows, video.grid[1:], budget=count, repeats=again, **video.asked)
        for rows, count, again in zip(video.rows.split(video.each), kept, repeats, strict=True)
    ]
    chosen = reduce(images, DEFAULT_METHOD, text_mean=video.text_mean, params=params)
    return _through([selection.kept for selection in chosen], video.each)


def _through(chosen: Sequence[Tensor], each: int) -> Tensor:
    return torch.cat([kept + frame * each for frame, kept in enumerate(chosen)])


def _likeness(rows: Tensor, centre: Tensor) -> Tensor:
    apart = (rows - centre).square().sum(-1)
    return torch.stack([torch.exp(-apart / (2 * scale)) for scale in _SCALES]).sum(0)
