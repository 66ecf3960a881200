"""Choosing visual tokens: pure torch, no model and no vLLM.

`reduce` takes encoder rows, a question and a budget, and says which rows to keep. Importing this package loads no
torch: settings and command lines read the names of the methods here.
"""

from .core.method import Method, Need
from .core.registry import (
    ENTRY_POINT_GROUP,
    BrokenMethod,
    UnknownMethod,
    get_method,
    method_names,
    register_method,
)
from .core.types import ImageTokens, Selection
from .focus_context.params import FocusContextParams
from .methods import BUILTIN_METHODS, DEFAULT_METHOD
from .select import reduce

__all__ = [
    "BUILTIN_METHODS",
    "DEFAULT_METHOD",
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
