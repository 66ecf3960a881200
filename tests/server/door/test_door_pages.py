"""Pages in a browser."""

from __future__ import annotations

import httpx
import pytest

from door.served import ALICE, CHAT


def test_a_page_of_the_list_may_ask_and_read_everything(guest: httpx.Client) -> None:
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
    origin = {"origin": "https://page.example"}
    answer = guest.options(CHAT, headers=origin | asked)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "https://page.example"
    refusal = guest.get("/v1/models", headers=origin)
    assert refusal.status_code == 401
    assert refusal.headers["access-control-allow-origin"] == "https://page.example"
    assert "x-request-id" in refusal.headers["access-control-expose-headers"]


@pytest.mark.parametrize("origin", ["https://other.example", "http://page.example", "null"])
def test_no_other_page_may(guest: httpx.Client, origin: str) -> None:
    asked = {"origin": origin, "access-control-request-method": "POST"}
    answer = guest.options(CHAT, headers=asked)
    assert answer.status_code == 400
    assert "access-control-allow-origin" not in answer.headers
    assert "access-control-allow-origin" not in guest.get("/v1/models", headers={**ALICE, **asked}).headers
