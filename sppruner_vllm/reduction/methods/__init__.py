"""The methods that come with the package: one file each, called as its method is called.

Only their names are to be had at once. A method is loaded, and torch with it, when it is first asked for.
"""

from __future__ import annotations

from typing import Final

from sppruner_vllm.reduction.core.registry import offer_method

DEFAULT_METHOD: Final = "focus_context"

BUILTIN_METHODS: Final = (
    DEFAULT_METHOD,
    "uniform",
    "random",
    "maxmin",
    "dpp",
    "coverage",
    "saliency",
    "relevance",
)
"""In the order in which reports show them."""

for _name in BUILTIN_METHODS:
    offer_method(_name, f"{__name__}.{_name}:METHOD")
