"""The parts of a conversation that bring a picture, and what they ask for it alone.

A member of a part is a field of ours for one picture; a list at the top of a request has one entry for each of them, in
the order of the prompt. Conversations are as OpenAI's chat completions have them; whatever else stands in them is left
to those who read them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sppruner_vllm.request.fields import KEEP_RATIO, MAX_PIXELS

PICTURE_FIELDS: Final = (KEEP_RATIO, MAX_PIXELS)
"""What a part may ask for its own picture."""

_URL: Final = "image_url"
_KINDS: Final = (_URL, "input_image", "image_pil", "image_embeds")


@dataclass(frozen=True, slots=True)
class PicturePart:
    """One picture of a conversation.

    place: of `members` in the document. members: among which the fields of the picture stand.
    """

    place: tuple[str | int, ...]
    members: Any

    def asks(self, field: str) -> Any:
        """What is asked for the picture; None for nothing."""
        return self.members.get(field)


def picture_parts(messages: Any, place: tuple[str | int, ...] = ()) -> Iterator[PicturePart]:
    """The pictures of a conversation, in order.

    Args:
        messages: a list of messages, or anything else, which has none. place: of it in the document.
    """
    for number, message in enumerate(_list(messages)):
        content = message.get("content") if isinstance(message, Mapping) else None
        for at, part in enumerate(_list(content)):
            if isinstance(part, Mapping) and _brings_picture(part):
                here = (*place, number, "content", at)
                inner = part.get(_URL)
                yield PicturePart((*here, _URL), inner) if isinstance(inner, Mapping) else PicturePart(here, part)


def _brings_picture(part: Mapping[str, Any]) -> bool:
    kind = part.get("type")
    if kind is None or part.get("uuid") is not None:
        return any(name in part for name in _KINDS)
    return kind in _KINDS


def _list(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list | tuple) else ()
