"""Pictures that leave out how closely they are looked at, or say null: given the default, as OpenAI's APIs have it.

vLLM (0.32 and 0.33) knows it of messages of a response alone, and only where the member is missing; elsewhere pydantic
finds that the part is none of those that there are. So it does with `original` in a chat, where its OpenAI is older.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sppruner_vllm.planning.in_parts import PicturePart

DETAIL: Final = "detail"
"""OpenAI's word for how closely a picture is looked at; beside the picture in Anthropic's API too."""

_DEFAULT: Final = "auto"
_CLOSEST: Final = "original"
_AS_CLOSE: Final = "high"
"""The same to this server's limits of pixels."""
_NEEDS_ONE: Final = "input_image"


def fill_details(parts: Iterable[PicturePart]) -> bool:
    """Write the default into the parts of pictures that need it.

    Args:
        parts: of a body, which are changed.

    Returns:
        Whether any was.
    """
    changed = False
    for part in parts:
        if (detail := part.asks(DETAIL)) is not None:
            if detail == _CLOSEST and "type" not in part.members:  # the object in a chat's image_url
                part.members[DETAIL] = _AS_CLOSE
                changed = True
            continue
        if part.members.get("type") == _NEEDS_ONE:
            part.members[DETAIL] = _DEFAULT
            changed = True
        elif DETAIL in part.members:
            del part.members[DETAIL]
            changed = True
    return changed
