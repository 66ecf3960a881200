"""The register of selection methods: ours, and those that other distributions bring.

A method is one `register_method` away, or one entry point in the group `sppruner.reduction_methods`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from torch import Tensor

from sppruner_vllm.reduction.focus_context.params import FocusContextParams

from .types import ImageTokens, Selection

ENTRY_POINT_GROUP: Final = "sppruner.reduction_methods"
"""Each entry point of this group is called like its method and names a `Method`."""

SelectFunction = Callable[[Sequence[ImageTokens], Tensor | None, FocusContextParams], list[Selection]]


class UnknownMethod(ValueError):
    """No selection method of that name is registered."""


class BrokenMethod(RuntimeError):
    """An installed distribution offers a selection method that cannot be used."""


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
    """Names that `reduce` accepts.

    Raises:
        BrokenMethod: an installed distribution offers a method that cannot be used.
    """
    _load_entry_points()
    return frozenset(_methods)


def get_method(name: str) -> Method:
    """The method of that name. Other distributions are loaded only for a name that is not known yet.

    Raises:
        UnknownMethod: there is none; the message lists the known names.
        BrokenMethod: an installed distribution offers a method that cannot be used.
    """
    if name not in _methods:
        _load_entry_points()
    try:
        return _methods[name]
    except KeyError:
        raise UnknownMethod(f"no selection method {name!r}; known: {', '.join(sorted(_methods))}") from None


@cache  # Once per process; an error is not cached, so that every call says what is wrong.
def _load_entry_points() -> None:
    for point in entry_points(group=ENTRY_POINT_GROUP):
        try:
            register_method(_loaded(point))
        except Exception as error:
            owner = point.dist.name if point.dist else "unknown"
            raise BrokenMethod(
                f"distribution {owner!r} offers the selection method {point.name!r} ({point.value}), "
                f"which cannot be used: {type(error).__name__}: {error}"
            ) from error


def _loaded(point: EntryPoint) -> Method:
    method = point.load()
    if not isinstance(method, Method):
        raise TypeError(f"it is a {type(method).__name__}, not a sppruner_vllm.reduction.Method")
    if method.name != point.name:
        raise ValueError(f"the method calls itself {method.name!r}")
    return method
