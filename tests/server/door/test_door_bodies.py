"""Bodies and heads that are too large, or no HTTP."""

from __future__ import annotations

import json
import socket
from contextlib import suppress

import httpx
import pytest

from door.served import ALICE, AS_JSON, BODY_MIB, CHAT, LARGE, WITH_KEY, all_of, ask_raw, head, opened
from serving import Server, chat_body, metric

KEY = "x3JJHMbDL1EzLkh9GBhXDw=="
"""Of the opening of a WebSocket."""


@pytest.mark.parametrize("path", ["/v1/messages", "/invocations"])
def test_too_large_a_body_is_refused_before_any_of_it_is_sent(door: Server, path: str) -> None:
    with opened(door, head(path, WITH_KEY, LARGE)) as connection:
        answer = all_of(connection)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer
    assert b'"request_too_large"' in answer


def test_whoever_has_no_key_need_not_send_a_body(door: Server) -> None:
    with opened(door, head(CHAT, LARGE)) as connection:
        answer = all_of(connection)
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"connection: close" in answer


@pytest.mark.parametrize("key", [WITH_KEY, "x-api-key: none"])
def test_a_client_that_is_asked_to_wait_sends_nothing_in_vain(door: Server, key: str) -> None:
    with opened(door, head(CHAT, key, LARGE, "expect: 100-continue")) as connection:
        assert b"100 Continue" not in all_of(connection)


def test_a_body_without_a_length_is_cut_off_at_the_limit(door: Server, alice: httpx.Client) -> None:
    answer = alice.post(CHAT, content=iter([b" " * 2**18] * (4 * BODY_MIB + 2)))
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "request_too_large"
    assert f"{BODY_MIB} MiB" in answer.json()["error"]["message"]


def test_a_body_of_just_the_limit_is_read(alice: httpx.Client) -> None:
    body, most = json.dumps(chat_body(text="hello")).encode(), BODY_MIB * 2**20
    assert alice.post(CHAT, content=body.ljust(most), headers=AS_JSON).status_code == 200
    assert alice.post(CHAT, content=body.ljust(most + 1), headers=AS_JSON).status_code == 413


def test_a_large_body_of_a_refused_request_ends_the_connection_and_a_small_one_does_not(guest: httpx.Client) -> None:
    assert guest.post(CHAT, content=b" " * 2**20).headers["connection"] == "close"
    assert "connection" not in guest.post(CHAT, content=b" " * 2**10).headers


@pytest.mark.parametrize("sent", [b"NONSENSE\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET /\r\nhost x\r\n\r\n"])
def test_what_is_not_http_is_answered_in_the_shape_of_the_api(door: Server, sent: bytes) -> None:
    with opened(door, sent) as connection:
        head_, _, body = all_of(connection).partition(b"\r\n\r\n")
    assert head_.startswith(b"HTTP/1.1 400 ")
    assert b"x-request-id: " in head_
    assert json.loads(body)["error"]["code"] == "invalid_http"


@pytest.mark.parametrize(
    "hosts", [[], ["host: a", "host: b"], ["host: a", "host: a"], ["host: a b"], ["host: a/b"], ["host: a:x"]], ids=repr
)
def test_a_request_for_no_host_or_several_is_refused(door: Server, hosts: list[str]) -> None:
    lines = ["GET /livez HTTP/1.1", *hosts, "connection: close", "", ""]
    with opened(door, "\r\n".join(lines).encode()) as connection:
        head_, _, body = all_of(connection).partition(b"\r\n\r\n")
    assert head_.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body)["error"]["code"] == "invalid_http"


@pytest.mark.parametrize("host", ["host: a.example:80", "host: [::1]:8000", "host: "])
def test_a_request_for_one_host_is_taken(door: Server, host: str) -> None:
    lines = ["GET /livez HTTP/1.1", host, "connection: close", "", ""]
    with opened(door, "\r\n".join(lines).encode()) as connection:
        assert all_of(connection).startswith(b"HTTP/1.1 200 ")


def test_a_body_beside_the_wish_for_another_protocol_is_read(door: Server) -> None:
    """As Java's HTTP client sends it."""
    body = json.dumps(chat_body(text="hello", max_tokens=1)).encode()
    upgrade = ["connection: Upgrade, HTTP2-Settings", "upgrade: h2c", "http2-settings: AAMAAABkAAQAAP__"]
    with opened(door, head(CHAT, WITH_KEY, f"content-length: {len(body)}", *upgrade) + body) as connection:
        assert connection.recv(13) == b"HTTP/1.1 200 "


@pytest.mark.parametrize("protocol", ["websocket", "h2c", "websocket, h2c"])
@pytest.mark.parametrize("middle", ["upgr", "upgrade: ", "connection: Upg", "{"])
def test_a_body_beside_such_a_wish_is_read_however_it_comes(door: Server, protocol: str, middle: str) -> None:
    body = json.dumps(chat_body(text="hello", max_tokens=1)).encode()
    wish = ["connection: Upgrade", f"upgrade: {protocol}", "sec-websocket-version: 13", f"sec-websocket-key: {KEY}"]
    sent = head(CHAT, WITH_KEY, f"content-length: {len(body)}", *wish) + body
    cut = sent.index(middle.encode()) + len(middle)
    with opened(door, sent[:cut]) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(sent[cut:])
        assert connection.recv(13) == b"HTTP/1.1 200 "


def test_a_wish_behind_another_request_leaves_nobody_without_an_answer(door: Server) -> None:
    first = f"GET /livez HTTP/1.1\r\nhost: x\r\n{WITH_KEY}\r\n\r\n".encode()
    for wish in ("connection: Upgrade\r\nupgrade: h2c", f"connection: Upgrade\r\nupgrade: websocket\r\nx-y: {KEY}"):
        with opened(door, first + head(CHAT, WITH_KEY, "content-length: 2", wish) + b"{}") as connection:
            answers = all_of(connection)
        assert answers.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["sec-websocket-version: 13"],
        ["sec-websocket-version: 12", f"sec-websocket-key: {KEY}"],
        ["sec-websocket-version: 13", "sec-websocket-key: short"],
        ["sec-websocket-version: 13", f"sec-websocket-key: {KEY}", "sec-websocket-extensions: =;"],
        ["sec-websocket-version: 13", f"sec-websocket-key: {KEY}", f"x-long: {'x' * 10_000}"],
        ["sec-websocket-version: 13", f"sec-websocket-key: {KEY}", *(f"x-{number}: x" for number in range(200))],
        ["sec-websocket-version: 13", f"sec-websocket-key: {KEY}", "content-length: 2"],
        ["sec-websocket-version: 13", f"sec-websocket-key: {KEY}", "transfer-encoding: chunked"],
    ],
    ids=range(9),
)
def test_a_handshake_that_is_none_is_answered_in_the_shape_of_the_api(door: Server, lines: list[str]) -> None:
    wish = ["GET /v1/realtime HTTP/1.1", "host: x", WITH_KEY, "connection: Upgrade", "upgrade: websocket", *lines]
    with opened(door, "\r\n".join([*wish, "", ""]).encode()) as connection:
        head_, _, body = all_of(connection).partition(b"\r\n\r\n")
    assert head_.startswith(b"HTTP/1.1 400 ")
    assert b"x-request-id: " in head_
    assert json.loads(body)["error"]["code"] == "invalid_http"


@pytest.mark.parametrize("path", ["/v1/realtime", CHAT, "/nowhere"])
def test_a_websocket_that_there_is_not_is_a_404_in_the_shape_of_the_api(door: Server, path: str) -> None:
    wish = {"connection": "Upgrade", "upgrade": "websocket", "sec-websocket-version": "13", "sec-websocket-key": KEY}
    status, headers, body = ask_raw(door, "GET", path, {**wish, **ALICE})
    assert (status, json.loads(body)["error"]["code"]) == (404, "unknown_url")
    assert headers["content-type"] == "application/json"
    assert headers["x-request-id"]


LONG = b"x" * 2**20


@pytest.mark.parametrize(
    "body",
    [
        b"2\r\n{}\r\n0\r\nx-long: %s\r\n\r\n" % LONG,
        b"2\r\n{}\r\n0\r\n%s\r\n" % (b"x-many: x\r\n" * 100_000),
        b"2;long=%s\r\n{}\r\n0\r\n\r\n" % LONG,
        b"2;long=%s" % LONG,
    ],
    ids=["a long trailer", "many trailers", "a long extension", "an extension without end"],
)
def test_what_stands_around_chunks_has_a_limit(door: Server, body: bytes) -> None:
    with opened(door, head(CHAT, WITH_KEY, "transfer-encoding: chunked")) as connection:
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(body)
        assert all_of(connection)[:13] in (b"HTTP/1.1 431 ", b"")


def test_a_coding_of_the_body_that_nobody_undoes_is_refused(door: Server) -> None:
    chunks = b"2\r\n{}\r\n0\r\n\r\n"
    with opened(door, head(CHAT, WITH_KEY, "transfer-encoding: gzip, chunked", "connection: close") + chunks) as one:
        head_, _, body = all_of(one).partition(b"\r\n\r\n")
    assert head_.startswith(b"HTTP/1.1 415 ")
    assert json.loads(body)["error"]["param"] == "transfer-encoding"


def test_a_body_in_chunks_of_a_byte_is_read(door: Server) -> None:
    body = json.dumps(chat_body(text="hello " * 500, max_tokens=1)).encode()
    chunks = b"".join(b"1;a\r\n%c\r\n" % byte for byte in body) + b"0\r\nx-trailer: x\r\n\r\n"
    sent = head(CHAT, WITH_KEY, "transfer-encoding: chunked", "connection: close") + chunks
    with opened(door, sent) as connection:
        assert all_of(connection).startswith(b"HTTP/1.1 200 ")


def test_a_slash_too_many_leads_to_a_path_whatever_the_host_says(door: Server) -> None:
    status, headers, _ = ask_raw(door, "POST", f"{CHAT}/?a=b", {"x-forwarded-host": "evil.example", **ALICE})
    assert (status, headers["location"]) == (307, f"{CHAT}?a=b")


@pytest.mark.parametrize("whole", [b"", b"\r\n\r\n"], ids=["cut", "whole"])
def test_a_head_that_comes_in_one_piece_is_as_long_as_any(door: Server, whole: bytes) -> None:
    with opened(door, b"GET /health HTTP/1.1\r\nhost: x\r\nx: " + b"x" * 2**16 + whole) as connection:
        assert all_of(connection)[:13] in (b"HTTP/1.1 431 ", b"")


def test_a_head_without_end_is_refused(door: Server) -> None:
    with httpx.Client(base_url=door.url, headers=ALICE) as client:
        before = metric(client, "sppruner_rejected_total", reason="head_too_large")
        with opened(door, b"GET /health HTTP/1.1\r\nx: ") as connection:
            with suppress(BrokenPipeError, ConnectionResetError):
                for _ in range(64):
                    connection.sendall(b"x" * 2**14)
            assert all_of(connection)[:13] in (b"HTTP/1.1 431 ", b"")
        assert metric(client, "sppruner_rejected_total", reason="head_too_large") == before + 1
