"""What the API process says to the worker arrives as it was said."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from sppruner_vllm.wire import (
    HOST_FIELDS,
    ORDER,
    QUERY,
    VIDEO_FIELDS,
    Order,
    StageOrder,
    decode,
    decode_item,
    decode_videos,
    encode,
    encode_videos,
)

ROWS = StageOrder("rows", "focus_context", 57)
CUT = StageOrder("encoder", "a method of one's own: ü", 114, 7)
ORDERS = [
    Order(256, 57, (ROWS,), torch.tensor([5, 6, 7])),
    Order(256, 57, (CUT, ROWS), torch.empty(0, dtype=torch.int64)),
    Order(16, 16, (), torch.empty(0, dtype=torch.int64), picture="a client's own name for it: ü"),
    Order(16, 4, (ROWS,), torch.tensor([5, 6]), question="5 and 6"),
    Order(4, 4, (), torch.empty(0, dtype=torch.int64), profiling=True),
]


def said(order: Order) -> tuple[object, ...]:
    names = order.picture, order.question
    return order.encoded, order.placed, order.stages, order.query_ids.tolist(), order.profiling, *names, order.frames


@pytest.mark.parametrize("orders", [ORDERS, ORDERS[:1], ORDERS[::-1]])
def test_orders_come_back_as_they_went_and_leave_nothing_behind(orders: list[Order]) -> None:
    inputs: dict[str, object] = {"pixel_values": 1, **encode(orders)}
    assert [said(order) for order in decode(inputs)] == [said(order) for order in orders]
    assert inputs == {"pixel_values": 1}


def test_fields_of_equal_length_may_arrive_stacked_as_vllm_batches_them() -> None:
    orders = [Order(64, kept, (StageOrder("rows", "uniform", kept),), torch.tensor([kept, 1])) for kept in (10, 11)]
    stacked = {name: torch.stack(values) for name, values in encode(orders).items()}
    assert [said(order) for order in decode(stacked)] == [said(order) for order in orders]


def test_every_image_has_every_field() -> None:
    fields = encode(ORDERS)
    assert fields.keys() == HOST_FIELDS.keys()
    assert all(len(values) == len(ORDERS) for values in fields.values())


def test_inputs_without_images_hold_no_order() -> None:
    assert decode({"pixel_values_videos": 1}) == []


def test_what_stays_on_the_host_is_enough_to_know_an_image_by() -> None:
    kept = {name: values[1] for name, values in encode(ORDERS).items() if HOST_FIELDS[name]}
    order = decode_item({name: SimpleNamespace(data=value) for name, value in kept.items()})
    assert order is not None
    assert (order.encoded, order.placed, order.stages) == (256, 57, (CUT, ROWS))
    assert decode_item({"image_grid_thw": SimpleNamespace(data=1)}) is None
    assert {ORDER, QUERY} == HOST_FIELDS.keys()


def test_videos_have_fields_of_their_own_which_no_image_is_read_from() -> None:
    orders = [Order(96, 20, (ROWS,), torch.tensor([5, 6]), frames=(12, 2, 6)), Order(96, 96, (), torch.tensor([]))]
    fields = encode_videos(orders)
    assert fields.keys() == VIDEO_FIELDS.keys()
    inputs: dict[str, object] = {"pixel_values_videos": 1, **fields}
    assert decode(inputs) == []
    assert [said(order) for order in decode_videos(inputs)] == [said(order) for order in orders]
    assert inputs == {"pixel_values_videos": 1}
    kept = {name: values[0] for name, values in fields.items() if VIDEO_FIELDS[name]}
    order = decode_item({name: SimpleNamespace(data=value) for name, value in kept.items()})
    assert order is not None
    assert (order.encoded, order.placed, order.frames) == (96, 20, (12, 2, 6))
