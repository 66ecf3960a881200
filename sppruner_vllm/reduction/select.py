"""The one entry point: hosts call `reduce` with a method's name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .core.method import Method
from .core.registry import get_method
from .core.types import ImageTokens, Selection, check_images
from .methods import DEFAULT_METHOD

if TYPE_CHECKING:
    from torch import Tensor


def reduce(
    images: Sequence[ImageTokens],
    method: str = DEFAULT_METHOD,
    *,
    text_mean: Tensor | None = None,
    params: object = None,
) -> list[Selection]:
    """Choose which visual tokens of each image to keep, exactly its budget.

    Every image gets the same result alone and in any company. Rows that are not finite are treated as zeros.

    Args:
        images: any number, of any sizes and budgets, of one width and device.
        method: a registered method's name.
        text_mean: (D,) mean of the model's text embeddings, subtracted from the query by the methods that centre;
            None subtracts nothing.
        params: constants in place of the method's own, of the same type or one that extends it: `FocusContextParams`
            is fit for every method of this package. None means the method's own.

    Raises:
        UnknownMethod: no such method.
        TypeError: constants of another type than the method's.
        ValueError: an input that makes no sense; the message names the image.
    """
    from torch import no_grad  # Late, so that the names of the methods are to be had without torch.

    chosen = get_method(method)
    constants = _constants(chosen, params)
    check_images(images, text_mean)
    with no_grad():
        return chosen.select(images, text_mean, constants) if images else []


def _constants(method: Method, given: object) -> object:
    if given is None:
        return method.constants
    if method.constants is not None and not isinstance(given, type(method.constants)):
        raise TypeError(
            f"method {method.name!r} takes {type(method.constants).__name__}, not {type(given).__name__}, as params"
        )
    return given
