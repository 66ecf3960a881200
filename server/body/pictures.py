"""What parts of a body ask for their own picture, brought to the top of it: one list with an entry for each picture.

From there on a part's field is what a list is (sppruner_vllm/request/fields.py), on whichever route: vLLM drops members
of parts that it does not know, and makes chats of its other APIs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from sppruner_vllm.planning.in_parts import PICTURE_FIELDS, PicturePart, picture_parts
from sppruner_vllm.request.asked import other_count
from sppruner_vllm.request.fields import KEEP_RATIO, MAX_PIXELS
from sppruner_vllm.settings import settings

from ..errors.invalid_body import written
from ..errors.places import PROCESSOR_KWARGS, Place
from ..errors.refusal import RESPONSES_API, Refusal, is_anthropic
from .content.document import BATCH
from .details import DETAIL
from .json_body import BadBody

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
    """Move the fields of pictures from their parts to the top of the body, and there what their `detail` comes to.

    Args:
        document: of a body, which is changed. found: its pictures.

    Returns:
        Whether anything was moved.

    Raises:
        BadBody: they cannot be honoured there.
    """
    parts = [part for conversation in found for part in conversation]
    moved = [_gather_ratios(document, parts), _gather_pixels(document, parts)]
    return any(moved)


def _gather_ratios(document: dict[str, Any], parts: list[PicturePart]) -> bool:
    own = _taken(document, parts, KEEP_RATIO)
    if own is None:
        return False
    _refuse_earlier(
        document, next(part for part, value in zip(parts, own, strict=True) if value is not None), KEEP_RATIO
    )
    given = _given(document, KEEP_RATIO)
    document[KEEP_RATIO] = [given if value is None else value for value in own]
    return True


def _gather_pixels(document: dict[str, Any], parts: list[PicturePart]) -> bool:
    """Of all limits of a picture the smallest holds: its own, that of its `detail`, and that of the request."""
    own = _taken(document, parts, MAX_PIXELS) or [None] * len(parts)
    details = [pixels_of_detail(part.asks(DETAIL)) for part in parts]
    if not any(limit is not None for limit in (*own, *details)):
        return False
    given = _given(document, MAX_PIXELS)
    if any(document.get(name) is not None for name in _EARLIER):
        return _gather_pixels_of_all(document, parts, own, given)
    several = given if isinstance(given, list) else [given] * len(parts)
    if len(several) != len(parts):
        document[MAX_PIXELS] = several  # which is refused
        return True
    document[MAX_PIXELS] = [smallest(*limits) for limits in zip(own, details, several, strict=True)]
    return True


def _gather_pixels_of_all(document: dict[str, Any], parts: list[PicturePart], own: list[Any], given: Any) -> bool:
    """Where earlier pictures do not stand in the body, a limit can only be one for all."""
    auto = pixels_of_detail(None)
    for part, limit in zip(parts, own, strict=True):
        if limit is not None or pixels_of_detail(part.asks(DETAIL)) != auto:
            _refuse_earlier(document, part, MAX_PIXELS if limit is not None else DETAIL)
    document[MAX_PIXELS] = given if isinstance(given, list) else smallest(given, auto)
    return True


def pixels_of_detail(detail: Any) -> int | None:
    """Most pixels of a picture of such a detail, which may be left out; None for any number."""
    chosen = settings()
    budgets = {
        "low": chosen.detail_low_pixels,
        "high": chosen.detail_high_pixels,
        "original": chosen.detail_high_pixels,
    }
    return budgets.get(str(detail), chosen.detail_auto_pixels) or None


def smallest(*limits: Any) -> Any:
    """The limit that holds among several; what is no number comes first, for it is to be refused."""
    given = [limit for limit in limits if limit is not None]
    wrong = [limit for limit in given if type(limit) is not int or limit < 1]
    return wrong[0] if wrong else min(given, default=None)


def _taken(document: Mapping[str, Any], parts: list[PicturePart], field: str) -> list[Any] | None:
    """What each part asks for its picture, taken out of it; None where none asks.

    Raises:
        BadBody: the request has a list too.
    """
    own = [part.members.pop(field, None) for part in parts]
    asking = next((part for part, value in zip(parts, own, strict=True) if value is not None), None)
    if asking is None:
        return None
    nested = document.get(PROCESSOR_KWARGS)
    if any(isinstance(given.get(field), list) for given in (document, nested) if isinstance(given, Mapping)):
        param = written((*asking.place, field))
        raise _excluded(f"{param} and a list of {field} exclude each other", param)
    return own


def _refuse_earlier(document: Mapping[str, Any], part: PicturePart, field: str) -> None:
    earlier = next((name for name in _EARLIER if document.get(name) is not None), None)
    if earlier is not None:
        param = written((*part.place, field))
        said = MAX_PIXELS if field == DETAIL else field
        raise _excluded(f"{param} and {earlier} exclude each other: send a list of {said} for all pictures", param)


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
    for holder in (document, nested) if isinstance(nested, dict) else (document,):
        for field in PICTURE_FIELDS:
            given = holder.get(field)
            if isinstance(given, list) and len(given) != images:
                message = other_count(field, len(given), images)
                param = field if holder is document else f"{PROCESSOR_KWARGS}.{field}"
                raise BadBody(Refusal(400, f"invalid_{field}", message, param))


def _excluded(message: str, param: str | None) -> BadBody:
    return BadBody(Refusal(400, "unsupported_parameter", message, param))
