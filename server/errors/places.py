"""Where in a body a medium stands: vLLM's renderer knows it by its URL alone, Anthropic's clients by another name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from .invalid_body import written
from .refusal import RESPONSES_API, is_anthropic

Place = tuple[str | int, ...]

MEDIA: Final = frozenset(
    {
        "image_url",
        "video_url",
        "audio_url",
        "image_pil",
        "image_embeds",
        "video_embeds",
        "audio_embeds",
        "uuid",
        "prompt_embeds",
    }
)
"""Members of a part that bring a medium, as errors name them."""

_SPELT: Final = {"audio_url": ("audio_url", "input_audio"), "prompt_embeds": ("data",)}
_IMAGE_URL: Final = "image_url"
_SOURCE: Final = "source"
_MESSAGES: Final = "messages"
PROCESSOR_KWARGS: Final = "mm_processor_kwargs"
"""Where a request may have our fields too."""


def named(field: str, given: object, document: Any, path: str) -> str:
    """What a client calls the field that a refusal is about.

    Args:
        field: as the refusal has it.
        given: the URL or text that the client gave there; None where that is not known.
        document: body of the request. path: of the request.

    Returns:
        Of a medium the place of its member, as `messages[0].content[1].image_url`, if it can be told.
    """
    if field == _MESSAGES and path.startswith(RESPONSES_API):
        return "input"
    if not isinstance(document, dict):
        return field
    name, inner = field.partition("[")[0], document.get(PROCESSOR_KWARGS)
    if name not in document and isinstance(inner, dict) and name in inner:
        return f"{PROCESSOR_KWARGS}.{field}"
    if field not in MEDIA:
        return field
    anthropic = is_anthropic(path)
    top = {name: document[name] for name in ("messages", "input") if name in document}
    there = list(_sources(top, ()) if anthropic else _members(top, (), _SPELT.get(field, (field,))))
    fitting = [place for place, value in there if given is not None and _is(value, given)]
    if not fitting and len(there) == 1:
        fitting = [there[0][0]]
    if fitting:
        return written(fitting[0]) or field
    return _MESSAGES if anthropic and field == _IMAGE_URL else field


def _members(node: Any, place: Place, names: tuple[str, ...]) -> Iterator[tuple[Place, Any]]:
    """Members of those names below a node, and what they hold."""
    if isinstance(node, list):
        for number, entry in enumerate(node):
            yield from _members(entry, (*place, number), names)
    elif isinstance(node, dict):
        for name, value in node.items():
            if name not in names:
                yield from _members(value, (*place, name), names)
            elif value is not None:
                yield (*place, name), value


def _sources(node: Any, place: Place) -> Iterator[tuple[Place, Any]]:
    """Sources of Anthropic's images below a node."""
    if isinstance(node, list):
        for number, entry in enumerate(node):
            yield from _sources(entry, (*place, number))
    elif isinstance(node, dict):
        if node.get("type") == "image" and isinstance(node.get(_SOURCE), dict):
            yield (*place, _SOURCE), node[_SOURCE]
        elif isinstance(node.get("content"), list):
            yield from _sources(node["content"], (*place, "content"))
        elif isinstance(node.get(_MESSAGES), list):
            yield from _sources(node[_MESSAGES], (*place, _MESSAGES))


def _is(value: Any, given: object) -> bool:
    """Whether a member holds what was given to the renderer, which makes `data:` URLs of what comes in parts."""
    if not isinstance(value, Mapping):
        return bool(value == given)
    if value.get("url") == given:
        return True
    data = value.get("data")
    return isinstance(data, str) and bool(data) and isinstance(given, str) and given.endswith(f";base64,{data}")
