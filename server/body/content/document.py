"""Which API's messages a body has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ...errors.refusal import RESPONSES_API, is_anthropic
from .blocks import check_conversation
from .chat import check_messages
from .items import check_input
from .reading import expect, fail

CHAT: Final = "/v1/chat/completions"
VISUAL_TOKENS: Final = "/v1/visual-tokens"
BATCH: Final = f"{CHAT}/batch"
"""Takes a list of conversations."""

_MESSAGES: Final = "messages"
_KINDS: Final[Mapping[str, tuple[type, ...]]] = {
    _MESSAGES: (list,),
    "tools": (list,),
    "tool_choice": (str, dict),
    "structured_outputs": (dict,),
    "response_format": (dict,),
    "stream_options": (dict,),
}
"""Fields that vLLM's models look into before they look at what kind of value they have."""

TOKENIZE: Final = "/tokenize"
_CHATS: Final = (CHAT, VISUAL_TOKENS)


def check_content(document: Any, path: str) -> None:
    """Look at the messages in a body; what is beside them, and a body without any, is left to its route.

    Args:
        document: that was read. path: of the request.

    Raises:
        BadBody: with the first thing in them that cannot be used.
    """
    if not isinstance(document, dict):
        return
    for name, kinds in _KINDS.items():
        if document.get(name) is not None or (name == _MESSAGES and name in document):
            expect(document[name], (name,), *kinds)
    if is_anthropic(path):
        check_conversation(document)
    elif path.startswith(RESPONSES_API):
        check_input(document)
    elif _MESSAGES not in document:
        return
    elif path == TOKENIZE and document.get("prompt") is not None:
        fail(("prompt",), "would be left out beside messages: send one of them", "unsupported_parameter")
    elif path == BATCH:
        for number, conversation in enumerate(expect(document[_MESSAGES], (_MESSAGES,), list)):
            check_messages(conversation, (_MESSAGES, number))
    elif path in _CHATS or isinstance(document[_MESSAGES], list):  # elsewhere a prompt may stand beside it
        check_messages(document[_MESSAGES], (_MESSAGES,))
