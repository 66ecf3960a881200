"""What the API process sends to the worker beside an image: the order that its rows are to be reduced by.

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
    """What the worker is to do with one image.

    encoded: rows that the encoder gives. placed: rows that the prompt has room for, 1 <= placed <= encoded.
    stages: in the order they run; none leaves the image whole.
    query_ids: (T,) int64 token ids of the query, possibly none.
    profiling: the image is one of vLLM's own: it stays whole, and a selection is rehearsed for its memory.
    picture: the same for all images that look the same to the encoder, whatever is asked of them; empty where it does
        not encode.
    question: the same for all queries of the same ids; empty where nothing is kept by it.
    told: name under which the selection is remembered for whoever asked for it; empty for no one.
    """

    encoded: int
    placed: int
    stages: tuple[StageOrder, ...]
    query_ids: Tensor
    profiling: bool = False
    picture: str = ""
    question: str = ""
    told: str = ""


def encode(orders: Sequence[Order]) -> dict[str, list[Tensor]]:
    """The fields of a request's images; every image has every field, for vLLM batches only items of equal keys.

    Returns:
        Per field, one tensor per image: ORDER (L,) uint8, QUERY (T,) int64.
    """
    return {ORDER: [_to_bytes(order) for order in orders], QUERY: [order.query_ids for order in orders]}


def decode(inputs: MutableMapping[str, Any]) -> list[Order]:
    """Take the orders of a batch of images out of the encoder's inputs; none where the inputs hold no image.

    Args:
        inputs: as vLLM batched them; both fields are removed.
    """
    queries = inputs.pop(QUERY, ())
    return [_from_bytes(packed, query) for packed, query in zip(inputs.pop(ORDER, ()), queries, strict=True)]


def decode_item(item: Mapping[str, Any]) -> Order | None:
    """The order of one image as vLLM holds it, without its query; None for what is no image of ours."""
    if ORDER not in item:
        return None
    return _from_bytes(item[ORDER].data, torch.empty(0, dtype=torch.int64))


def _to_bytes(order: Order) -> Tensor:
    stages = [astuple(stage) for stage in order.stages]
    text = json.dumps([order.encoded, order.placed, stages, order.profiling, order.picture, order.question, order.told])
    return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)


def _from_bytes(packed: Tensor, query: Tensor) -> Order:
    encoded, placed, stages, profiling, picture, question, told = json.loads(bytes(packed.tolist()))
    stage_orders = tuple(StageOrder(*stage) for stage in stages)
    return Order(encoded, placed, stage_orders, query.flatten(), profiling, picture, question, told)
