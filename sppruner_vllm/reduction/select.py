"""The one entry point, and the methods that come with it.

Hosts call `reduce` with a method's name.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .core.registry import Method, get_method, register_method
from .core.types import ImageTokens, Selection, check_images
from .focus_context.params import FocusContextParams
from .methods import coverage, dpp, focus_context, maxmin, random, relevance, saliency, uniform


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
        text_mean: (D,) mean of the model's text embeddings, subtracted from the query by the methods that centre;
            None subtracts nothing.
        params: constants of `focus_context`; the comparators heed `relevance` and those on saliency. None means the
            defaults.

    Raises:
        UnknownMethod: no such method.
        ValueError: an input that makes no sense; the message names the image.
    """
    chosen = get_method(method)
    check_images(images, text_mean)
    return chosen.select(images, text_mean, params or FocusContextParams()) if images else []


register_method(Method("focus_context", uses_query=True, select=focus_context.select))
register_method(Method("uniform", uses_query=False, select=uniform.select))
register_method(Method("random", uses_query=False, select=random.select))
register_method(Method("maxmin", uses_query=False, select=maxmin.select))
register_method(Method("dpp", uses_query=True, select=dpp.select))
register_method(Method("coverage", uses_query=True, select=coverage.select))
register_method(Method("saliency", uses_query=False, select=saliency.select))
register_method(Method("relevance", uses_query=True, select=relevance.select))
