"""The placeholders of a video in the prompt: as many as rows are kept of it, frame by frame where they stand apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, cast

from vllm.multimodal.processing import PromptReplacement, PromptUpdate
from vllm.multimodal.processing.processor import PromptUpdateDetails

from sppruner_vllm import wire
from sppruner_vllm.errors import RowCountError


def shortened_videos(update: PromptUpdate, token: int, items: Sequence[Any]) -> PromptUpdate:
    """vLLM's own replacement for the videos of a prompt, each run of placeholders cut to what is kept of its frames.

    Args:
        token: id of a placeholder. items: the processed videos, with their orders.

    Raises, once vLLM asks for it:
        RowCountError: vLLM makes another number of placeholders than was planned with.
    """
    full = cast("PromptReplacement", update).replacement

    def replacement(index: int) -> Any:
        content: Any = full(index) if callable(full) else full
        order = wire.decode_item(items[index])
        if order is None or not order.frames:
            return content
        if isinstance(content, PromptUpdateDetails):
            return replace(content, full=_cut_runs(content.full, token, order))
        return _cut_runs(content, token, order)

    return replace(update, replacement=replacement)


def _cut_runs(ids: Sequence[int], token: int, order: wire.Order) -> list[int]:
    starts = [at for at, one in enumerate(ids) if one == token and (at == 0 or ids[at - 1] != token)]
    runs = order.frames if len(starts) == len(order.frames) else (order.placed,)
    if ids.count(token) != order.encoded or len(starts) != len(runs):
        raise RowCountError(f"video has {ids.count(token)} placeholders, but was planned with {order.encoded}")
    left = iter(runs)
    cut: list[int] = []
    room = 0
    for at, one in enumerate(ids):
        if one != token:
            cut.append(one)
            continue
        if at == 0 or ids[at - 1] != token:
            room = next(left)
        if room:
            cut.append(one)
            room -= 1
    return cut


def can_be_placed(ids: Sequence[int], places: Sequence[int], videos: int) -> bool:
    """Whether positions can be recovered (worker/positions.py): text comes last, and parts videos from each other.

    Args:
        ids: of the prompt before it has placeholders. places: of the videos among them.
    """
    return len(places) == videos and places[-1] < len(ids) - 1 and not _touching(places)


def _touching(places: Iterable[int]) -> bool:
    there = set(places)
    return any(place + 1 in there for place in there)
