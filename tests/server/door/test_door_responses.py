"""A stored response is its key's own: to another one it does not exist."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from door.served import ALICE, AS_JSON
from serving import Server, responses_body

RESPONSES = "/v1/responses"
OTHER = {"authorization": "Bearer key-of-hashed"}


@pytest.fixture(scope="module")
def stored(alice: httpx.Client) -> str:
    answer = alice.post(RESPONSES, json=responses_body(text="good day", store=True))
    assert answer.status_code == 200
    return str(answer.json()["id"])


def ways(identity: str) -> dict[str, tuple[str, str, dict[str, Any] | None]]:
    more = responses_body(text="and now?", previous_response_id=identity)
    return {
        "read": ("GET", f"{RESPONSES}/{identity}", None),
        "read as a stream": ("GET", f"{RESPONSES}/{identity}?stream=true", None),
        "cancel": ("POST", f"{RESPONSES}/{identity}/cancel", None),
        "go on": ("POST", RESPONSES, more),
        "go on, as a stream": ("POST", RESPONSES, {**more, "stream": True}),
    }


def asked(door: Server, way: tuple[str, str, dict[str, Any] | None], key: dict[str, str]) -> tuple[int, str]:
    method, path, body = way
    with httpx.Client(base_url=door.url, timeout=120) as http:
        answer = http.request(method, path, json=body, headers={**AS_JSON, **key})
    return answer.status_code, answer.text


@pytest.mark.parametrize("way", ways(""))
def test_to_another_key_a_response_is_one_that_does_not_exist(door: Server, stored: str, way: str) -> None:
    nobodys = f"resp_{'0' * 16}"
    status, text = asked(door, ways(stored)[way], OTHER)
    assert (status, text.replace(stored, nobodys)) == asked(door, ways(nobodys)[way], OTHER)
    assert status == 404


def test_its_own_key_reads_it_and_goes_on(door: Server, stored: str) -> None:
    assert asked(door, ways(stored)["read"], ALICE)[0] == 200
    assert asked(door, ways(stored)["go on"], ALICE)[0] == 200


def test_a_response_in_the_background_is_its_keys_own(door: Server, alice: httpx.Client) -> None:
    begun = alice.post(RESPONSES, json=responses_body(text="good day", background=True))
    assert begun.status_code == 200
    path = f"{RESPONSES}/{begun.json()['id']}"
    while (state := alice.get(path).json()["status"]) in {"queued", "in_progress"}:
        assert asked(door, ("GET", path, None), OTHER)[0] == 404
    assert state in {"completed", "incomplete"}
    assert asked(door, ("GET", path, None), OTHER)[0] == 404
