"""The default ratio while requests wait."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import httpx

from door.served import ALICE, BOUNDED, CHAT, CROWD, FLOOR, PICTURE
from serving import Server, chat_body, eventually, frozen, metric


def test_the_default_slides_while_requests_wait_and_what_a_client_asks_for_stays(
    door: Server, guest: httpx.Client, alice: httpx.Client
) -> None:
    def ask(headers: dict[str, str], *pictures: str, **fields: object) -> httpx.Response:
        return guest.post(CHAT, json=chat_body(*pictures, max_tokens=1, **fields), headers=headers)

    def waiting() -> float:
        return metric(alice, "sppruner_requests_waiting")

    assert eventually(lambda: waiting() == 0)
    assert metric(alice, "sppruner_default_keep_ratio") == 1
    asked = [(ALICE, {}), (ALICE, {"keep_ratio": 0.9}), (ALICE, {"keep_ratio": [None]}), (BOUNDED, {})]
    more = CROWD + CROWD // 2  # a request that is rendered, and not yet with the engine, does not wait for a moment
    with ThreadPoolExecutor(more + len(asked)) as threads:
        with frozen(door):  # nobody gets a token before the block ends
            crowd = [threads.submit(ask, ALICE) for _ in range(more)]
            assert eventually(lambda: waiting() == more)
            assert metric(alice, "sppruner_default_keep_ratio") == FLOOR
            seen = [threads.submit(ask, headers, PICTURE, **fields) for headers, fields in asked]
            assert eventually(lambda: waiting() == more + len(asked))
        assert all(one.result().status_code == 200 for one in crowd)
        usages = [one.result().json()["usage"]["prompt_tokens_details"]["visual_tokens"] for one in seen]
    assert [usage["retained"] for usage in usages] == [math.ceil(144 * ratio) for ratio in (FLOOR, 0.9, FLOOR, FLOOR)]
    assert [usage["keep_ratio"] for usage in usages] == [FLOOR, 0.9, FLOOR, FLOOR]
    assert [usage.get("under_load", False) for usage in usages] == [True, False, True, True]
    assert eventually(lambda: waiting() == 0)
    assert metric(alice, "sppruner_default_keep_ratio") == 1
    after = ask(ALICE, PICTURE).json()["usage"]["prompt_tokens_details"]["visual_tokens"]
    assert after["retained"] == 144
    assert "under_load" not in after
