"""What a key of the server stores under an id, and what another finds there."""

from __future__ import annotations

from contextvars import copy_context

from sppruner_server.keys.current import use_key
from sppruner_server.keys.key import Key, digest_of
from sppruner_server.keys.owned import Owned


def test_each_key_has_its_own_entries() -> None:
    table = Owned[int]()
    table["a"] = 1

    def as_key(name: str, value: int) -> list[str]:
        use_key(Key(name=name, sha256=digest_of(name)))
        assert table.get("a") is None
        assert "a" not in table
        assert len(table) == 0
        table["a"] = value
        table["b"] = value
        assert table.pop("a") == value
        return list(table)

    assert copy_context().run(as_key, "one", 2) == ["b"]
    assert copy_context().run(as_key, "two", 3) == ["b"]
    assert dict(table) == {"a": 1}
