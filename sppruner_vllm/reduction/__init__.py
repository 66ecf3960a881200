"""Choosing visual tokens: pure torch, no model and no vLLM.

`reduce` takes encoder rows, a question and a budget, and says which rows to keep.
"""

from .params import FocusContextParams
from .select import Method, UnknownMethod, get_method, method_names, reduce, register_method
from .types import ImageTokens, Selection

__all__ = [
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
