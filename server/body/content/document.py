"""Which API's messages a body has."""

from __future__ import annotations

from typing import Any, Final

from ...errors.refusal import RESPONSES_API, is_anthropic
from .blocks import check_conversation
from .chat import check_messages
from .items import check_input

BATCH: Final = "/v1/chat/completions/batch"
"""Takes a list of conversations."""


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
    elif isinstance(messages := document.get("messages"), list):
        if path != BATCH:
            check_messages(messages, ("messages",))
            return
        for number, conversation in enumerate(messages):
            check_messages(conversation, ("messages", number))
