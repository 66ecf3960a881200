"""What a message may hold: what nothing can be made of is refused by its place, and what clients send is taken."""

from __future__ import annotations

import httpx
import pytest

from bad_bodies import good
from bad_contents import TAKEN, refused

REFUSED = refused()


@pytest.mark.parametrize(("path", "name"), REFUSED)
def test_a_message_that_nothing_can_be_made_of_is_refused_by_its_place(
    client: httpx.Client, path: str, name: str
) -> None:
    fields, param = REFUSED[path, name]
    body = good(path, **fields)
    if "messages" in fields:
        body.pop("prompt", None)
    answer = client.post(path, json=body)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param), error
    assert "validation error" not in error["message"]


@pytest.mark.parametrize("name", TAKEN)
def test_a_message_as_clients_send_it_is_taken(client: httpx.Client, name: str) -> None:
    path, fields = TAKEN[name]
    answer = client.post(path, json=good(path, **fields))
    assert answer.status_code == 200, answer.text
