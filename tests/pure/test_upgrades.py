"""Wishes for another protocol in the head of a request, however it comes in."""

from __future__ import annotations

import pytest
from sppruner_server.upgrades import HeadLines

WISH = b"UpGrade: %s\r\n"
HEAD = b"\r\n%s /a HTTP/1.1\r\nHost: up.example\r\n%sup: x\r\nConnection: Upgrade\r\n\r\n"
BODY = b"upgrade: h2c\r\n\r\nupgrade: h2c\r\n"
PIECES = [1, 2, 3, 7, 11, 1000]


def read(data: bytes, piece: int) -> bytes:
    lines = HeadLines()
    return b"".join(lines.without_upgrade(data[start : start + piece]) for start in range(0, len(data), piece))


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize(
    ("method", "wish"),
    [
        (b"POST", WISH % b"websocket"),
        (b"POST", WISH % b"h2c"),
        (b"GET", WISH % b"h2c"),
        (b"GET", WISH % b"websocket, h2c"),
        (b"HEAD", WISH % b"websocket"),
        (b"POST", b"upgrade:websocket\r\n  and\r\n\tmore\r\n"),
        (b"POST", b"upgrade:\r\n websocket\r\nUPGRADE: h2c\r\n"),
        (b"POST", WISH % (b"x" * 3000)),
    ],
)
def test_what_cannot_be_had_is_taken_out_and_nothing_else(method: bytes, wish: bytes, piece: int) -> None:
    assert read(HEAD % (method, wish) + BODY, piece) == HEAD % (method, b"") + BODY


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("value", [b"websocket", b"WebSocket", b" websocket "])
def test_a_get_may_open_a_websocket(value: bytes, piece: int) -> None:
    data = HEAD % (b"GET", WISH % value) + BODY
    assert read(data, piece) == data


@pytest.mark.parametrize("piece", PIECES)
def test_the_size_of_a_head_is_told_of_all_its_lines_and_of_nothing_behind_it(piece: int) -> None:
    lines, head = HeadLines(), HEAD % (b"POST", WISH % b"h2c")
    for start in range(0, len(head + BODY), piece):
        lines.without_upgrade((head + BODY)[start : start + piece])
    assert lines.size == len(head)


@pytest.mark.parametrize("data", [b"NONSENSE", b"\x16\x03\x01", b"POST", b"GET /", b"G /", b"GET / HTTP/1.1\r\nhos"])
def test_what_can_be_no_wish_is_not_held_back(data: bytes) -> None:
    assert HeadLines().without_upgrade(data) == data
