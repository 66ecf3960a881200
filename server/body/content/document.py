"""Which API's messages a body has."""

from __future__ import annotations

from typing import Any, Final

from ...errors.refusal import RESPONSES_API, is_anthropic
from .blocks import check_conversation
from .chat import check_messages
from .items import check_input
from .reading import expect

CHAT: Final = "/v1/chat/completions"
VISUAL_TOKENS: Final = "/v1/visual-tokens"
BATCH: Final = f"{CHAT}/batch"
"""Takes a list of conversations."""

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
    if is_anthropic(path):
        check_conversation(document)
    elif path.startswith(RESPONSES_API):
        check_input(document)
    elif "messages" not in document:
        return
    elif path == BATCH:
        for number, conversation in enumerate(expect(document["messages"], ("messages",), list)):
            check_messages(conversation, ("messages", number))
    elif path in _CHATS or isinstance(document["messages"], list):  # elsewhere a prompt may stand beside it
        check_messages(document["messages"], ("messages",))
