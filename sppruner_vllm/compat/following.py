"""How a method of vLLM's is followed by a call of ours, once, however often that is asked."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final

SHIM: Final = "_sppruner_shim"
"""Marks what stands in the place of a function of vLLM's."""


def follow(owner: type[Any], name: str, then: Callable[[Any], None]) -> None:
    """Have a method of upstream's call `then` with its object once it is through; once, however often this is asked."""
    upstream = getattr(owner, name)
    if hasattr(upstream, SHIM):
        return

    @functools.wraps(upstream)
    def followed(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = upstream(self, *args, **kwargs)
        then(self)
        return result

    setattr(followed, SHIM, True)
    setattr(owner, name, followed)


def have_forget(keeper: Any, name: str) -> None:
    """Another plugin's model or processor keeps nothing of ours."""
    forget = getattr(keeper, name, None)
    if forget is not None:
        forget()
