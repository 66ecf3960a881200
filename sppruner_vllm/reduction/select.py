"""The one entry point, and the register of methods behind it.

Hosts call `reduce` with a method's name; a new method is one `register_method` away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from . import baselines, focus_context
from .params import FocusContextParams
from .types import ImageTokens, Selection, check_images

SelectFunction = Callable[[Sequence[ImageTokens], Tensor | None, FocusContextParams], list[Selection]]


class UnknownMethod(ValueError):
    """No selection method of that name is registered."""


@dataclass(frozen=True, slots=True)
class Method:
    """A way to choose tokens.

    name: what a request calls it.
    uses_query: False lets a host leave the query out, and share results between queries.
    select: takes checked images, the mean text embedding (D,) or None, and the parameters; returns one `Selection`
        each, without making the host wait for the device, and independent of the other images of the call.
    """

    name: str
    uses_query: bool
    select: SelectFunction


_methods: dict[str, Method] = {}


def register_method(method: Method) -> None:
    """Make a method available under its name; registering the same one again is harmless.

    Raises:
        ValueError: the name belongs to another method.
    """
    if _methods.setdefault(method.name, method) != method:
        raise ValueError(f"the name {method.name!r} already belongs to another selection method")


def method_names() -> frozenset[str]:
    """Names that `reduce` accepts."""
    return frozenset(_methods)


def get_method(name: str) -> Method:
    """The method of that name.

    Raises:
        UnknownMethod: there is none; the message lists the known names.
    """
    try:
        return _methods[name]
    except KeyError:
        raise UnknownMethod(f"no selection method {name!r}; known: {', '.join(sorted(_methods))}") from None


@torch.no_grad()
def reduce(
    images: Sequence[ImageTokens],
    method: str = "focus_context",
    *,
    text_mean: Tensor | None = None,
    params: FocusContextParams | None = None,
) -> list[Selection]:
    """Choose which visual tokens of each image to keep, exactly its budget.

    Every image gets the same result alone and in any company. Rows that are not finite are treated as zeros.

    Args:
        images: any number, of any sizes and budgets, of one width and device.
        method: a registered method's name.
        text_mean: (D,) mean of the model's text embeddings, subtracted from the query; None subtracts nothing.
        params: constants of `focus_context`; None means the defaults.

    Raises:
        UnknownMethod: no such method.
        ValueError: an input that makes no sense; the message names the image.
    """
    chosen = get_method(method)
    check_images(images, text_mean)
    return chosen.select(images, text_mean, params or FocusContextParams()) if images else []


register_method(Method("focus_context", uses_query=True, select=focus_context.select))
register_method(Method("uniform", uses_query=False, select=baselines.uniform))
register_method(Method("random", uses_query=False, select=baselines.random))
