"""Choosing visual tokens: pure torch, no model and no vLLM.

`reduce` takes encoder rows, a question and a budget, and says which rows to keep.
"""

from .core.registry import (
    ENTRY_POINT_GROUP,
    BrokenMethod,
    Method,
    UnknownMethod,
    get_method,
    method_names,
    register_method,
)
from .core.types import ImageTokens, Selection
from .focus_context.params import FocusContextParams
from .select import reduce

__all__ = [
    "ENTRY_POINT_GROUP",
    "BrokenMethod",
    "FocusContextParams",
    "ImageTokens",
    "Method",
    "Selection",
    "UnknownMethod",
    "get_method",
    "method_names",
    "reduce",
    "register_method",
]
