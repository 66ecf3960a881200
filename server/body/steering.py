"""Headers by which a router in front steers vLLM's engines: the rank that serves a request, and when its turn is.

vLLM (0.32 and 0.33, entrypoints/generate/base/serving.py) passes by what is no number, and hands on any that is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from ..errors.refusal import Refusal
from .json_body import BadBody

RANK: Final = "x-data-parallel-rank"
PRIORITY: Final = "x-vllm-priority"

_INTEGER: Final = re.compile(r"-?[0-9]{1,9}")


def refuse_other_steering(headers: Mapping[str, str]) -> None:
    """Refuse such a header that steers nothing; whether there is that rank, the engine's client says.

    Raises:
        BadBody: names the header.
    """
    for name in (RANK, PRIORITY):
        value = headers.get(name)
        if value is not None and not _INTEGER.fullmatch(value):
            raise BadBody(Refusal(400, "invalid_value", f"{name} must be an integer of nine digits at most", name))
