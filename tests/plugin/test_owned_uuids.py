"""Each uuid of a body has the name of its key before it."""

from __future__ import annotations

from typing import Any

import pytest
from sppruner_server.body.uuids import name_uuids

PART = {"type": "image_url", "image_url": None, "uuid": "a"}
OWNED = {**PART, "uuid": "alice:a"}
TURN = {"role": "user", "content": [PART, {"type": "text", "text": "a"}]}
OWN_TURN = {"role": "user", "content": [OWNED, {"type": "text", "text": "a"}]}


def copied(node: Any) -> Any:
    if isinstance(node, list):
        return [copied(one) for one in node]
    return {name: copied(one) for name, one in node.items()} if isinstance(node, dict) else node


@pytest.mark.parametrize(("messages", "owned"), [([TURN], [OWN_TURN]), ([[TURN], [TURN]], [[OWN_TURN], [OWN_TURN]])])
def test_of_a_chat_and_of_a_batch(messages: Any, owned: Any) -> None:
    document = {"messages": copied(messages)}
    assert name_uuids(document, "alice")
    assert document == {"messages": owned}


@pytest.mark.parametrize(
    ("document", "owner"),
    [
        ({"messages": [TURN]}, None),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": [{"uuid": None}, "a"]}]}, "alice"),
        ({"messages": {"content": []}}, "alice"),
        ([TURN], "alice"),
    ],
)
def test_nothing_else_is_changed(document: Any, owner: str | None) -> None:
    before = copied(document)
    assert not name_uuids(document, owner)
    assert document == before
