"""Images of Anthropic's messages that vLLM would leave out without a word.

It takes a picture only where there is a `source` with something in it (0.32 and 0.33,
entrypoints/anthropic/serving.py), so that a client that made a mistake gets an answer about no picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from sppruner_vllm.errors import InvalidField

INVALID_IMAGE: Final = "invalid_image"
_IN_RESULTS: Final = frozenset({"text", "image", "tool_reference"})


def check_images(request: Any) -> None:
    """Refuse an image block without a picture, in a message or in the result of a tool, and any beside the messages.

    Args:
        request: vLLM's AnthropicMessagesRequest, or the one to count its tokens.

    Raises:
        InvalidField: names the first such block.
    """
    for index, block in enumerate([] if isinstance(request.system, str) else request.system or []):
        if block.type != "text":
            param = f"system[{index}].type"
            raise InvalidField(param, f"{param} must be text", code="invalid_value")
    for number, message in enumerate(request.messages):
        if isinstance(message.content, str):
            continue
        for index, block in enumerate(message.content):
            place = f"messages[{number}].content[{index}]"
            if block.type == "image":
                _check_source(block.source, place)
            elif block.type == "tool_result" and isinstance(block.content, list):
                _check_result(block.content, place)


def _check_result(content: Iterable[Mapping[str, Any]], place: str) -> None:
    for index, item in enumerate(content):
        below = f"{place}.content[{index}]"
        if item.get("type") not in _IN_RESULTS:
            raise InvalidField(f"{below}.type", f"{below}.type must be text or image", code="invalid_value")
        if item["type"] == "image":
            _check_source(item.get("source"), below)


def _check_source(source: object, place: str) -> None:
    param = f"{place}.source"
    if not isinstance(source, Mapping) or not source:
        raise InvalidField(param, f"{param} must say where the picture is", code=INVALID_IMAGE)
    wanted = {"base64": ("media_type", "data"), "url": ("url",)}.get(str(source.get("type")))
    if wanted is None:
        raise InvalidField(f"{param}.type", f"{param}.type must be base64 or url", code=INVALID_IMAGE)
    for name in wanted:
        if not (isinstance(source.get(name), str) and source[name]):
            raise InvalidField(f"{param}.{name}", f"{param}.{name} must be a filled string", code=INVALID_IMAGE)
