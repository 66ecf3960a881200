"""The file of keys is read again when it changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from door.served import KEYS
from serving import Server, eventually


@pytest.fixture(scope="module", autouse=True)
def keys_as_they_were(guest: httpx.Client, key_file: Path) -> Iterator[None]:
    yield
    key_file.write_text(KEYS)
    assert eventually(lambda: status_of(guest, "key-of-alice") == 200)


def status_of(client: httpx.Client, key: str) -> int:
    return client.get("/v1/models", headers={"x-api-key": key}).status_code


def test_a_new_key_opens_and_one_that_was_taken_out_does_not(guest: httpx.Client, key_file: Path) -> None:
    assert (status_of(guest, "key-of-alice"), status_of(guest, "key-of-newcomer")) == (200, 401)
    key_file.write_text('[[key]]\nname = "newcomer"\nkey = "key-of-newcomer"\n')
    assert eventually(lambda: status_of(guest, "key-of-newcomer") == 200)
    assert status_of(guest, "key-of-alice") == 401
    assert status_of(guest, "key-of-vllm") == 200


@pytest.mark.parametrize("content", ["", "[[key]]\nname = ", "[[key]]\nname = 'x'\nkey = 'a b'\n", None])
def test_a_file_that_cannot_be_used_changes_nothing_and_is_in_the_log(
    door: Server, guest: httpx.Client, key_file: Path, content: str | None
) -> None:
    before = door.log.read_text().count("the keys stay as they were")
    if content is None:
        key_file.unlink()
    else:
        key_file.write_text(content)

    def told() -> bool:
        assert status_of(guest, "key-of-newcomer") == 200
        return door.log.read_text().count("the keys stay as they were") > before

    assert eventually(told)
    assert status_of(guest, "key-of-newcomer") == 200
    assert status_of(guest, "key-of-alice") == 401
