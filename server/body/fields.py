"""The reduction fields of a request body, wherever the client put them.

They are documented as top-level fields. The same names inside `mm_processor_kwargs` are accepted too, because that is
how plain vLLM takes them; nothing else in there is ours to admit.
"""

from __future__ import annotations

from typing import Any, Final

from sppruner_vllm.errors import InvalidField
from sppruner_vllm.request.fields import REQUEST_FIELDS

INCLUDE: Final = "include"
SELECTION: Final = "visual_tokens.selection"
"""What `include` of a chat may hold."""


def reduction_fields(request: Any) -> dict[str, object]:
    """The fields of REQUEST_FIELDS that a parsed request sets, unchecked; null counts as not set.

    Raises:
        InvalidField: a field is given in both places with different values.
    """
    nested = getattr(request, "mm_processor_kwargs", None) or {}
    fields: dict[str, object] = {}
    for name in REQUEST_FIELDS:
        given = [value for value in (getattr(request, name, None), nested.get(name)) if value is not None]
        if len(given) == 2 and given[0] != given[1]:
            raise InvalidField(name, f"{name} and mm_processor_kwargs.{name} differ; send one of them")
        if given:
            fields[name] = given[0]
    return fields


def foreign_kwargs(request: Any) -> dict[str, object]:
    """What is left of a request's `mm_processor_kwargs` without our fields."""
    nested = getattr(request, "mm_processor_kwargs", None) or {}
    return {name: value for name, value in nested.items() if name not in REQUEST_FIELDS}
