"""The register of selection methods: ours, and those that other distributions bring.

A method is one `register_method` away, or one entry point in the group `sppruner.reduction_methods`.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from .method import Method

ENTRY_POINT_GROUP: Final = "sppruner.reduction_methods"
"""Each entry point of this group is called like its method and names a `Method`."""


class UnknownMethod(ValueError):
    """No selection method of that name is registered."""


class BrokenMethod(RuntimeError):
    """An installed distribution offers a selection method that cannot be used."""


_methods: dict[str, Method] = {}
_offered: dict[str, EntryPoint] = {}


def offer_method(name: str, place: str) -> None:
    """Make a method of this package known, to be loaded when it is first asked for.

    Args:
        place: of its `Method`, as "module:attribute".
    """
    _offered[name] = EntryPoint(name, place, ENTRY_POINT_GROUP)


def register_method(method: Method) -> None:
    """Make a method available under its name; registering the same one again is harmless.

    Raises:
        ValueError: the name belongs to another method.
    """
    _load_offered(method.name)
    if _methods.setdefault(method.name, method) != method:
        raise ValueError(f"the name {method.name!r} already belongs to another selection method")


def method_names() -> frozenset[str]:
    """Names that `reduce` accepts.

    Raises:
        BrokenMethod: an installed distribution offers a method that cannot be used.
    """
    _load_entry_points()
    return frozenset(_offered | _methods)


def get_method(name: str) -> Method:
    """The method of that name. Other distributions are loaded only for a name that is not known yet.

    Raises:
        UnknownMethod: there is none; the message lists the known names.
        BrokenMethod: an installed distribution offers a method that cannot be used.
    """
    _load_offered(name)
    if name not in _methods:
        _load_entry_points()
    try:
        return _methods[name]
    except KeyError:
        known = ", ".join(sorted(_offered | _methods))
        raise UnknownMethod(f"no selection method {name!r}; known: {known}") from None


def _load_offered(name: str) -> None:
    if name in _offered and name not in _methods:
        _methods[name] = _loaded(_offered[name])


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
