"""Choosing visual tokens: pure torch, no model and no vLLM.

`reduce` takes encoder rows, a question and a budget, and says which rows to keep.
"""

from .params import FocusContextParams
from .registry import (
    ENTRY_POINT_GROUP,
    BrokenMethod,
    Method,
    Need,
    UnknownMethod,
    get_method,
    method_names,
    register_method,
)
from .select import reduce
from .types import ImageTokens, Selection

__all__ = [
    "ENTRY_POINT_GROUP",
    "BrokenMethod",
    "FocusContextParams",
    "ImageTokens",
    "Method",
    "Need",
    "Selection",
    "UnknownMethod",
    "get_method",
    "method_names",
    "reduce",
    "register_method",
]
