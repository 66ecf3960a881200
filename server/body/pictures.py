"""What parts of a body ask for their own picture, brought to the top of it: one list with an entry for each picture.

From there on a part's field is what a list is (sppruner_vllm/request.py), on whichever route: vLLM drops members of
parts that it does not know, and makes chats of its other APIs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, Final

from sppruner_vllm.planning.in_parts import PICTURE_FIELDS, PicturePart, picture_parts
from sppruner_vllm.request import KEEP_RATIO

from ..errors.invalid_body import written
from ..errors.places import Place
from ..errors.refusal import RESPONSES_API, Refusal, is_anthropic
from .content.document import BATCH
from .json_body import BadBody

PROCESSOR_KWARGS: Final = "mm_processor_kwargs"

_EARLIER: Final = ("previous_response_id", "previous_input_messages")
"""Fields of a response that bring pictures which do not stand in the body."""


def conversations(document: Any, path: str) -> list[list[PicturePart]] | None:
    """The pictures of each conversation in a body, in the order of its prompt; None where there is no conversation.

    Args:
        document: that was read, good or not. path: of the request.
    """
    if not isinstance(document, dict):
        return None
    name = "input" if path.startswith(RESPONSES_API) else "messages"
    if name not in document:
        return None
    messages = document[name]
    if name == "input":
        return [list(_of_items(messages))]
    if is_anthropic(path):
        return [list(_of_blocks(messages))]
    if path == BATCH and isinstance(messages, list):
        return [list(picture_parts(one, (name, number))) for number, one in enumerate(messages)]
    return [list(picture_parts(messages, (name,)))]


def _of_items(items: Any) -> Iterator[PicturePart]:
    """Of the input of a response; what a tool gave stands in its `output`."""
    for number, item in enumerate(items if isinstance(items, list) else ()):
        if isinstance(item, dict):
            for name in ("content", "output"):
                yield from _parts(item.get(name), ("input", number, name), "input_image")


def _of_blocks(messages: Any) -> Iterator[PicturePart]:
    """Of Anthropic's messages; vLLM puts what tools gave before what else stands in the message."""
    for number, message in enumerate(messages if isinstance(messages, list) else ()):
        content = message.get("content") if isinstance(message, dict) else None
        place: Place = ("messages", number, "content")
        if isinstance(content, list) and message.get("role") == "user":
            for at, block in enumerate(content):
                if isinstance(block, dict) and block.get("type") == "tool_result":
                    yield from _parts(block.get("content"), (*place, at, "content"), "image")
        yield from _parts(content, place, "image")


def _parts(parts: Any, place: Place, kind: str) -> Iterator[PicturePart]:
    for at, part in enumerate(parts if isinstance(parts, list) else ()):
        if isinstance(part, dict) and part.get("type") == kind:
            yield PicturePart((*place, at), part)


def gather(document: dict[str, Any], found: list[list[PicturePart]]) -> bool:
    """Move the fields of pictures from their parts to the top of the body.

    Args:
        document: of a body, which is changed. found: its pictures.

    Returns:
        Whether anything was moved.

    Raises:
        BadBody: they cannot be honoured there.
    """
    parts = [part for conversation in found for part in conversation]
    moved = [field for field in PICTURE_FIELDS if _gather_one(document, parts, field)]
    return bool(moved)


def _gather_one(document: dict[str, Any], parts: list[PicturePart], field: str) -> bool:
    own = [_taken(part.members, field) for part in parts]
    asking = next((part for part, value in zip(parts, own, strict=True) if value is not None), None)
    if asking is None:
        return False
    given = _given(document, field)
    param = written((*asking.place, field))
    if isinstance(given, list):
        raise _excluded(f"{param} and a list of {field} exclude each other", param)
    if (earlier := next((name for name in _EARLIER if document.get(name) is not None), None)) is not None:
        raise _excluded(f"{param} and {earlier} exclude each other: send a list of {field} for all pictures", param)
    document[field] = [given if value is None else value for value in own]
    return True


def _taken(members: MutableMapping[str, Any], field: str) -> Any:
    return members.pop(field, None)


def _given(document: dict[str, Any], field: str) -> Any:
    """What is asked for all pictures, which the list is to say from now on."""
    if (given := document.get(field)) is not None:
        return given
    nested = document.get(PROCESSOR_KWARGS)
    return nested.pop(field, None) if isinstance(nested, dict) else None


def refuse_other_counts(document: Mapping[str, Any], found: list[list[PicturePart]]) -> None:
    """Refuse a list that has not one entry for each picture, before any of them is decoded.

    Raises:
        BadBody: names the field and both numbers.
    """
    if any(document.get(name) is not None for name in _EARLIER):
        return  # the plan knows how many there are
    images = sum(map(len, found))
    nested = document.get(PROCESSOR_KWARGS)
    for given in (document.get(KEEP_RATIO), nested.get(KEEP_RATIO) if isinstance(nested, dict) else None):
        if isinstance(given, list) and len(given) != images:
            message = (
                f"{KEEP_RATIO} has {len(given)} entries, but the request holds {images} images, "
                "those of earlier turns included"
            )
            raise BadBody(Refusal(400, f"invalid_{KEEP_RATIO}", message, KEEP_RATIO))


def _excluded(message: str, param: str | None) -> BadBody:
    return BadBody(Refusal(400, "unsupported_parameter", message, param))
