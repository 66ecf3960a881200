"""Sends chat requests and times their streams, on kept-alive connections of the standard library.

Not Locust's own users: those time the headers, their `iter_lines` waits until 1024 bytes have come, and their sockets
hold back the end of a large request until the server acknowledges the rest. Each would move the first token.
"""

from __future__ import annotations

import json
import os
import select
import time
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any, Final
from urllib.parse import urlsplit

from .stream import ChatStream, StreamedAnswer, error_message, failed

PATH: Final = "/v1/chat/completions"
_OK: Final = 200
_BLOCK: Final = 65536
_BROKEN: Final = (OSError, HTTPException, ValueError)


def authorization() -> dict[str, str]:
    """The header with the key of OPENAI_API_KEY; none without one."""
    key = os.environ.get("OPENAI_API_KEY")
    return {"Authorization": f"Bearer {key}"} if key else {}


class ChatClient:
    """Of one server. Under gevent several requests may be under way at once, each on a connection of its own."""

    def __init__(self, host: str, timeout_s: float = 600.0) -> None:
        """`timeout_s`: longest silence of the server."""
        url = urlsplit(host)
        self._kind = HTTPSConnection if url.scheme == "https" else HTTPConnection
        self._address = url.netloc.rpartition("@")[2]
        self._path = url.path.rstrip("/") + PATH
        self._timeout = timeout_s
        self._idle: list[HTTPConnection] = []
        self._headers = {"Content-Type": "application/json", "Accept": "text/event-stream", **authorization()}

    def ask(self, body: Mapping[str, Any]) -> tuple[float, StreamedAnswer]:
        """Send a request and read its answer to the end.

        Returns:
            When it was sent, on the clock of time.perf_counter, and the answer; a failure is an answer with an error.
        """
        payload = json.dumps(body).encode()  # before the clock starts: the server's time is measured, not ours
        connection = self._connection()
        sent_at = time.perf_counter()
        stream = ChatStream(sent_at)
        try:
            connection.request("POST", self._path, payload, self._headers)
            response = connection.getresponse()
            if response.status != _OK:
                answer = failed(f"HTTP {response.status}: {_refusal(response)}", time.perf_counter() - sent_at)
            else:
                while data := response.read1(_BLOCK):
                    stream.feed(data, time.perf_counter())
                answer = stream.answer(time.perf_counter())
        except _BROKEN as problem:
            connection.close()
            return sent_at, failed(f"{type(problem).__name__}: {problem}", time.perf_counter() - sent_at)
        except BaseException:  # the run ends: what is left of this answer must not meet the next request
            connection.close()
            raise
        self._idle.append(connection)
        return sent_at, answer

    def close(self) -> None:
        """Drop the connections that are not in use."""
        while self._idle:
            self._idle.pop().close()

    def _connection(self) -> HTTPConnection:
        """One that is free, or a new one; one that the server closed meanwhile is opened again by its first use."""
        if not self._idle:
            return self._kind(self._address, timeout=self._timeout)
        connection = self._idle.pop()
        if connection.sock is not None and select.select([connection.sock], [], [], 0)[0]:
            connection.close()
        return connection


def _refusal(response: HTTPResponse) -> str:
    """What a status other than 200 came with; reads it all, so that the connection can be used again."""
    text = response.read().decode(errors="replace")
    with suppress(ValueError, KeyError, TypeError):
        return error_message(json.loads(text)["error"])
    return text.strip()[:200]
