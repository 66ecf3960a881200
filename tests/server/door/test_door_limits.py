"""Who asks too often, too much at a time or too slowly."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import httpx
import psutil

from door.served import ALICE, CHAT, LIMIT, ONE_AT_A_TIME, RARE, WITH_KEY, all_of, head, opened, refused
from serving import MODEL_NAME, Server, chat_body, eventually, frozen, metric


def test_a_key_beyond_its_rate_is_told_when_to_come_again(guest: httpx.Client) -> None:
    answers = [guest.post("/tokenize", json={"model": MODEL_NAME, "prompt": "a"}, headers=RARE) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 429, 429]
    assert answers[1].json()["error"]["code"] == "rate_limit_exceeded"
    assert answers[1].json()["error"]["type"] == "rate_limit_error"
    assert 0 < int(answers[1].headers["retry-after"]) <= 3000
    assert guest.get("/v1/models", headers=RARE).status_code == 200


def test_a_key_has_as_many_requests_in_flight_as_it_may(door: Server, guest: httpx.Client, alice: httpx.Client) -> None:
    def ask(headers: dict[str, str]) -> httpx.Response:
        return guest.post(CHAT, json=chat_body(text="hello"), headers=headers)

    def in_flight() -> float:
        return metric(alice, "sppruner_requests_in_flight")

    assert eventually(lambda: in_flight() == 0)
    with ThreadPoolExecutor(2) as threads, frozen(door):  # nobody is answered by the engine before the block ends
        first = threads.submit(ask, ONE_AT_A_TIME)
        assert eventually(lambda: in_flight() == 1)
        second = ask(ONE_AT_A_TIME)
        assert second.status_code == 429
        assert int(second.headers["retry-after"]) > 0
        other = threads.submit(ask, ALICE)
        assert eventually(lambda: in_flight() == 2), "another key is let in"
    assert [answer.result().status_code for answer in (first, other)] == [200, 200]
    assert eventually(lambda: ask(ONE_AT_A_TIME).status_code == 200)


async def statuses_of_streams(url: str, count: int) -> Counter[tuple[int, bool]]:
    """Status, and whether there was a hint when to come again, of so many streams that are all open at once."""
    body = chat_body(text="hello", stream=True, max_tokens=3900, ignore_eos=True)
    limits = httpx.Limits(max_connections=count)
    async with httpx.AsyncClient(base_url=url, timeout=120, headers=ALICE, limits=limits) as client:

        async def begin() -> httpx.Response:
            return await client.send(client.build_request("POST", CHAT, json=body), stream=True)

        answers = await asyncio.gather(*(begin() for _ in range(count)))
        found = Counter((answer.status_code, "retry-after" in answer.headers) for answer in answers)
        await asyncio.gather(*(answer.aclose() for answer in answers))
    return found


def test_150_requests_at_a_limit_of_64_are_64_answers_and_86_refusals(door: Server, alice: httpx.Client) -> None:
    before = refused(alice)["server_overloaded"]
    assert asyncio.run(statuses_of_streams(door.url, 150)) == {(200, False): LIMIT, (503, True): 150 - LIMIT}
    assert refused(alice)["server_overloaded"] - before == 150 - LIMIT
    assert eventually(lambda: alice.post(CHAT, json=chat_body(text="hello")).status_code == 200)


def test_200_slow_sockets_keep_nobody_waiting_and_are_ended(door: Server, alice: httpx.Client) -> None:
    before = refused(alice)["request_timeout"]
    slow_head = b"GET /health HTTP/1.1\r\nx-slow: "
    slow_body = head(CHAT, WITH_KEY, "content-length: 1000")
    unread = f"GET /openapi.json HTTP/1.1\r\nhost: x\r\n{WITH_KEY}\r\n\r\n".encode()
    # Some 10 MB, which no buffer of the system takes in.
    long = json.dumps(chat_body(stream=True, max_tokens=3900, ignore_eos=True, logprobs=True, top_logprobs=20)).encode()
    stream = head(CHAT, WITH_KEY, f"content-length: {len(long)}") + long
    with ExitStack() as stack:
        heads, bodies, readers, streams = (
            [stack.enter_context(opened(door, sent)) for _ in range(count)]
            for sent, count in ((slow_head, 70), (slow_body, 70), (unread, 59), (stream, 1))
        )
        for _ in range(20):
            for trickling in (*heads, *bodies):
                with suppress(BrokenPipeError, ConnectionResetError):  # it was ended already
                    trickling.sendall(b" ")
            assert alice.post(CHAT, json=chat_body(text="hello")).status_code == 200
            assert alice.get("/health").status_code == 200
        for trickling in (*heads, *bodies):
            # What was sent behind the server's end may have taken the answer with it.
            assert all_of(trickling)[:13] in (b"HTTP/1.1 408 ", b"")
        assert eventually(lambda: refused(alice)["request_timeout"] - before == len(heads) + len(bodies))
        ours = {reader.getsockname()[1] for reader in (*readers, *streams)}
        assert eventually(lambda: not ours & held_by(door))
        assert eventually(lambda: metric(alice, "vllm:num_requests_running") == 0)
    assert alice.post(CHAT, json=chat_body(text="hello")).status_code == 200


def held_by(server: Server) -> set[int]:
    """The ports of clients to whom the server's process has a connection."""
    connections = psutil.Process(server.process.pid).net_connections("tcp")
    return {connection.raddr.port for connection in connections if connection.raddr}


def test_vllms_refusals_are_counted_by_their_reason_as_ours_are(guest: httpx.Client, alice: httpx.Client) -> None:
    before = refused(alice)
    guest.get("/v1/models")
    guest.post(CHAT, content=b" " * 2**20)
    after = refused(alice)
    assert {reason: after[reason] - count for reason, count in before.items() if after[reason] != count} == {
        "invalid_api_key": 2
    }
