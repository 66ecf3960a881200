"""What requests to this server may ask of a worker, which start-up checks and profiling prepare for."""

from __future__ import annotations

from sppruner_vllm.family import Tap
from sppruner_vllm.recipes import get_recipe, request_methods
from sppruner_vllm.reduction import DEFAULT_METHOD, Need, get_method
from sppruner_vllm.settings import settings
from sppruner_vllm.wire import Order


def usual_selection() -> str:
    """The selection of requests that name no method; where that selects nothing, the default one stands for others."""
    return get_recipe(settings().method).selects or DEFAULT_METHOD


def overheard(method: str) -> frozenset[Need]:
    """What has to be overheard in the encoder for a selection method; attention only where the operator wants it."""
    chosen = get_method(method)
    wanted = chosen.needs | (chosen.options if settings().rank_on == "patches" else frozenset())
    needs = wanted - {"query", "states"}
    return needs if settings().saliency_attention else needs - {"attention"}


def overheard_by_requests() -> frozenset[Need]:
    """What any request may want overheard."""
    names = request_methods() if settings().allow_method else {settings().method}
    methods = [get_recipe(name).selects for name in names]
    return frozenset[Need]().union(*(overheard(method) for method in methods if method is not None))


def overheard_for(order: Order, tokens: int, heard: frozenset[Tap]) -> frozenset[Tap]:
    """What has to be overheard in the encoder for the methods that select from one image or video.

    Args:
        tokens: visual tokens of it. heard: what can be overheard of its family.
    """
    if order.profiling:
        return overheard_by_requests() & heard
    dropping = [stage.method for stage in order.stages if stage.where == "rows" and stage.budget < tokens]
    return frozenset[Tap]().union(*(overheard(method) & heard for method in dropping))
