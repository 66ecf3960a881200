"""What the API process sends to the worker beside an image or video: the order that its rows are to be reduced by.

`encode` and `decode` stand side by side, so that the two processes cannot disagree. An order travels as JSON in a byte
tensor, because vLLM carries only tensors and numbers; the query's ids travel apart, since they belong on the device.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any, Final, Literal

import torch
from torch import Tensor

ORDER: Final = "sppruner_order"
QUERY: Final = "sppruner_query"

HOST_FIELDS: Final = {ORDER: True, QUERY: False}
"""Every field of an image, and whether it stays on the host: the host decides by the order, the device reads the query.
What stays on the host vLLM keeps also for images that a prefix-cache hit covers."""

VIDEO_ORDER: Final = "sppruner_video_order"
VIDEO_QUERY: Final = "sppruner_video_query"

VIDEO_FIELDS: Final = {VIDEO_ORDER: True, VIDEO_QUERY: False}
"""The same of a video: vLLM lets a field belong to one modality only."""

MOST_TOKENS: Final = 2**16
"""Visual tokens of the largest image whose kept rows can be told apart (worker/positions.py)."""

WorkerStage = Literal["entry", "encoder", "rows"]
"""Where the worker drops tokens: where they enter the vision encoder, inside it, or among the rows that it gives."""


@dataclass(frozen=True, slots=True)
class StageOrder:
    """One stage in the worker.

    where: its place. method: what chooses. budget: tokens that are left after it, at the entry at most.
    block: of the vision encoder, counted from 0, behind which a stage inside it stands; None for the others.
    """

    where: WorkerStage
    method: str
    budget: int
    block: int | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """What the worker is to do with one image or video.

    encoded: rows that the encoder gives. placed: rows that the prompt has room for, 1 <= placed <= encoded.
    stages: in the order they run; none leaves the image whole.
    query_ids: (T,) int64 token ids of the query, possibly none.
    profiling: the image is one of vLLM's own: it stays whole, and a selection is rehearsed for its memory.
    picture: the same for all images that look the same to the encoder, whatever is asked of them; empty where it does
        not encode.
    question: the same for all queries of the same ids; empty where nothing is kept by it.
    told: name under which the selection is remembered for whoever asked for it; empty for no one.
    frames: of a reduced video, rows that each of its frames keeps, `placed` in all; empty for all else.
    """

    encoded: int
    placed: int
    stages: tuple[StageOrder, ...]
    query_ids: Tensor
    profiling: bool = False
    picture: str = ""
    question: str = ""
    told: str = ""
    frames: tuple[int, ...] = ()


def encode(orders: Sequence[Order]) -> dict[str, list[Tensor]]:
    """The fields of a request's images; every image has every field, for vLLM batches only items of equal keys.

    Returns:
        Per field, one tensor per image: ORDER (L,) uint8, QUERY (T,) int64.
    """
    return {ORDER: [_to_bytes(order) for order in orders], QUERY: [order.query_ids for order in orders]}


def encode_videos(orders: Sequence[Order]) -> dict[str, list[Tensor]]:
    """The fields of a request's videos; every video has every field, as `encode` has it."""
    return {VIDEO_ORDER: [_to_bytes(order) for order in orders], VIDEO_QUERY: [order.query_ids for order in orders]}


def decode(inputs: MutableMapping[str, Any]) -> list[Order]:
    """Take the orders of a batch of images out of the encoder's inputs; none where the inputs hold no image.

    Args:
        inputs: as vLLM batched them; both fields are removed.
    """
    return _decode(inputs, ORDER, QUERY)


def decode_videos(inputs: MutableMapping[str, Any]) -> list[Order]:
    """The same of a batch of videos."""
    return _decode(inputs, VIDEO_ORDER, VIDEO_QUERY)


def decode_item(item: Mapping[str, Any]) -> Order | None:
    """The order of one image or video as vLLM holds it, without its query; None for what is none of ours."""
    name = next((name for name in (ORDER, VIDEO_ORDER) if name in item), None)
    return None if name is None else _from_bytes(item[name].data, torch.empty(0, dtype=torch.int64))


def _decode(inputs: MutableMapping[str, Any], order: str, query: str) -> list[Order]:
    queries = inputs.pop(query, ())
    return [_from_bytes(packed, ids) for packed, ids in zip(inputs.pop(order, ()), queries, strict=True)]


def _to_bytes(order: Order) -> Tensor:
    stages = [astuple(stage) for stage in order.stages]
    names = order.picture, order.question, order.told
    text = json.dumps([order.encoded, order.placed, stages, order.profiling, *names, order.frames])
    return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)


def _from_bytes(packed: Tensor, query: Tensor) -> Order:
    encoded, placed, stages, profiling, picture, question, told, frames = json.loads(bytes(packed.tolist()))
    stage_orders = tuple(StageOrder(*stage) for stage in stages)
    return Order(encoded, placed, stage_orders, query.flatten(), profiling, picture, question, told, tuple(frames))
