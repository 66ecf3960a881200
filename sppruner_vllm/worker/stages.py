"""Which stages of an order are carried out where: inside the vision encoder, or among the rows that it gives."""

from __future__ import annotations

from sppruner_vllm.errors import RowCountError
from sppruner_vllm.wire import Order, StageOrder


def inside_encoder(order: Order) -> tuple[StageOrder, ...]:
    """The stages that drop tokens in the encoder, none where it runs whole.

    Raises:
        RowCountError: there are two of one kind.
    """
    stages = tuple(stage for stage in order.stages if stage.where != "rows")
    if len({stage.where for stage in stages}) < len(stages):
        raise _unknown(order)
    return stages


def among_rows(order: Order, rows: int) -> StageOrder | None:
    """The stage that selects among the rows of an image or video, if any is left to drop.

    Raises:
        RowCountError: the order counts on other rows, or holds more stages than are carried out here.
    """
    if order.stages and rows != order.encoded:
        what = "video" if order.frames else "image"
        raise RowCountError(f"{what} was planned with {order.encoded} rows but has {rows}")
    among = [stage for stage in order.stages if stage.where == "rows"]
    if len(among) > 1:
        raise _unknown(order)
    return among[0] if among and among[0].budget < rows else None


def _unknown(order: Order) -> RowCountError:
    return RowCountError(f"no way to carry out {len(order.stages)} stages in a worker: {order.stages}")
