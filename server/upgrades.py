"""Wishes of a connection for another protocol: which are dropped, and which WebSockets are refused.

A server may take no notice of such a wish. uvicorn's parser stops reading there, so that a body is lost, and its
WebSockets library answers in plain text or, to what it cannot read, not at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .errors.refusal import Refusal

_UPGRADE: Final = b"upgrade:"
_ENDS: Final = (b"\r\n", b"\n")
_GET: Final = b"GET "
_WEBSOCKET: Final = b"websocket"
_SPACES: Final = (b" ", b"\t")


class HeadLines:
    """The lines of one head as they come in, without those that wish for what a request cannot have.

    Only WebSockets are spoken, and only a GET can open one.

    size: bytes of the head so far; what stands behind it does not count.
    """

    def __init__(self) -> None:
        self.size = 0
        self._gets: bool | None = None
        self._held = b""
        self._inside = False
        self._drops = False
        self._over = False

    def without_upgrade(self, data: bytes) -> bytes:
        """What of a head, and behind it, is to be read now.

        Of a line that is not whole yet only what may become such a wish is held back.

        Args:
            data: the next bytes of the connection.
        """
        data, self._held = self._held + data, b""
        kept: list[bytes] = []
        start = 0
        while not self._over and start < len(data):
            end = data.find(b"\n", start) + 1
            line = data[start : end or None]
            if not self._inside:
                if not end and self._may_go(line):
                    self._held = line
                    break
                if self._stays(line):
                    kept.append(line)
            else:
                kept.append(line)
            self._inside = not end
            start += len(line)
        self.size += start
        return b"".join(kept if self._held else [*kept, data[start:]])

    def _may_go(self, line: bytes) -> bool:
        """Whether it depends on the rest of a line what is to be done with its beginning."""
        if line == b"\r":
            return True
        if self._gets is None:
            return _GET.startswith(line)
        if line[:1] in _SPACES:
            return self._drops
        return _UPGRADE.startswith(line[: len(_UPGRADE)].lower())

    def _stays(self, line: bytes) -> bool:
        if self._gets is None:
            if line.strip():  # a parser skips empty lines before a head
                self._gets = line.startswith(_GET)
            return True
        if line in _ENDS:
            self._over = True
            return True
        # A line that begins with a space goes on with the one before it.
        self._drops = self._drops if line[:1] in _SPACES else self._is_unwanted(line)
        return not self._drops

    def _is_unwanted(self, line: bytes) -> bool:
        name, colon, value = line.partition(b":")
        if name.lower() + colon != _UPGRADE:
            return False
        return not self._gets or value.strip().lower() != _WEBSOCKET


def fault_of_handshake(scope: Mapping[str, Any], target: bytes) -> Refusal | None:
    """What is wrong with the opening of a WebSocket; None for nothing.

    Args:
        scope: of a GET as uvicorn has begun it, with version and headers. target: of its first line.
    """
    from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
    from websockets.server import ServerProtocol

    headers: list[tuple[bytes, bytes]] = scope["headers"]
    if scope["http_version"] != "1.1":
        return _refusal("the request is not HTTP/1.1")
    if any(name == b"transfer-encoding" or (name == b"content-length" and value != b"0") for name, value in headers):
        return _refusal("the request has a body")
    # Asked of the library itself, on a connection that is none.
    asked = ServerProtocol(extensions=[ServerPerMessageDeflateFactory()])
    lines = [b"%s: %s" % header for header in headers]
    asked.receive_data(b"\r\n".join([b"GET %s HTTP/1.1" % target, *lines, b"", b""]))
    for request in asked.events_received():
        if asked.accept(request).status_code == 101:  # type: ignore[arg-type]
            return None
    return _refusal(str(asked.handshake_exc or "it cannot be read"))


def _refusal(fault: str) -> Refusal:
    return Refusal(400, "invalid_http", f"no WebSocket can be opened: {fault}")
