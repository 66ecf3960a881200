"""What is asked of the server of this folder, and how."""

from __future__ import annotations

import hashlib
import http.client
import socket
from contextlib import suppress

import httpx

from serving import Server, data_url, metric, png

CHAT = "/v1/chat/completions"
LIMIT = 64
BODY_MIB = 2
FLOOR = 0.3
"""Keep ratio to which the default slides."""
CROWD = 16
"""Requests that wait from which on it is there."""
MOST_PIXELS = 3 * 10**6
"""Of all pictures of a request."""
PICTURE = data_url(png(336, 336))
"""144 visual tokens."""

AS_JSON = {"content-type": "application/json"}
ALICE = {"authorization": "Bearer key-of-alice"}
BOUNDED = {"x-api-key": "key-of-bounded"}
RARE = {"authorization": "Bearer key-of-rare"}
ONE_AT_A_TIME = {"authorization": "Bearer key-of-one-at-a-time"}

KEYS = f"""
[[key]]
name = "alice"
key = "key-of-alice"

[[key]]
name = "hashed"
sha256 = "{hashlib.sha256(b"key-of-hashed").hexdigest()}"

[[key]]
name = "bounded"
key = "key-of-bounded"
min_keep_ratio = 0.25
max_keep_ratio = 0.5

[[key]]
name = "rare"
key = "key-of-rare"
requests_per_minute = 0.02

[[key]]
name = "one-at-a-time"
key = "key-of-one-at-a-time"
max_in_flight = 1
"""


def port_of(server: Server) -> int:
    return int(server.url.rsplit(":", 1)[1])


def ask_raw(server: Server, method: str, target: str, headers: dict[str, str] | None = None) -> tuple[int, dict, bytes]:
    """Status, headers and body of a request whose target goes out as it is written."""
    connection = http.client.HTTPConnection("127.0.0.1", port_of(server), timeout=120)
    try:
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in (headers or {}).items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def opened(server: Server, sent: bytes) -> socket.socket:
    """A connection on which something was sent, and whose own buffer holds next to nothing."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.settimeout(60)
    made.connect(("127.0.0.1", port_of(server)))
    made.sendall(sent)
    return made


def all_of(made: socket.socket) -> bytes:
    """What comes until the server closes; a reset ends it too."""
    read = b""
    with suppress(ConnectionResetError):
        while piece := made.recv(65536):
            read += piece
    return read


def refused(client: httpx.Client) -> dict[str, float]:
    reasons = ("invalid_api_key", "request_too_large", "request_timeout", "rate_limit_exceeded", "server_overloaded")
    return {reason: metric(client, "sppruner_rejected_total", reason=reason) for reason in reasons}


def head(path: str, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "host: x", "content-type: application/json", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


WITH_KEY = "authorization: Bearer key-of-alice"
LARGE = f"content-length: {200 * 2**20}"
