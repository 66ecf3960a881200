"""Every name that `reduction_method` may take, and the steps behind it.

Selection methods run in the worker, on encoder output; a smaller image is made before the encoder. Both go by one list
of names, so that requests, settings and reports need not care.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sppruner_vllm.planning.smaller import halfway
from sppruner_vllm.reduction import get_method, method_names


@dataclass(frozen=True, slots=True)
class Recipe:
    """The steps of one method.

    shrinks_to: most tokens of the smaller image, from the image's own and the budget; None sends the image as it is.
    selects: the selection method that brings the rows to the budget; None when the smaller image is all.
    """

    shrinks_to: Callable[[int, int], int] | None
    selects: str | None

    @property
    def uses_query(self) -> bool:
        return self.selects is not None and get_method(self.selects).uses_query


DEFAULT_SELECTION: Final = "focus_context"

_WITH_SMALLER_IMAGE: Final = {
    "downscale": Recipe(shrinks_to=lambda _, budget: budget, selects=None),
    "hybrid": Recipe(shrinks_to=halfway, selects=DEFAULT_SELECTION),
}


def request_methods() -> frozenset[str]:
    """Names that a request, or the operator's default, may give."""
    return method_names() | _WITH_SMALLER_IMAGE.keys()


def get_recipe(name: str) -> Recipe:
    """The steps of a method; any name that is not one of ours above is a selection method's."""
    return _WITH_SMALLER_IMAGE.get(name, Recipe(shrinks_to=None, selects=name))
