"""A web server that counts what it was asked, and names that lead to it or past it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

PUBLIC: Final = "127.0.0.9"
"""Stands for an address on the public internet: to be named as one of the operator's networks."""

HOST: Final = "pictures.example"
"""A name of that address, to be allowed."""

ADDRESSES: Final = {
    HOST: (PUBLIC,),
    "xn--bcher-kva.example": (PUBLIC,),
    "unlisted.example": (PUBLIC,),
    "loopback.example": ("127.0.0.1",),
    "six.example": ("::1",),
    "mapped.example": ("::ffff:127.0.0.1",),
    "private.example": ("10.0.0.1",),
    "metadata.example": ("169.254.169.254",),
    "mixed.example": (PUBLIC, "127.0.0.1"),
}
"""What each name resolves to, in a hosts file."""

LISTED: Final = tuple(name for name in ADDRESSES if name != "unlisted.example")
"""What the operator allows: names that must not be fetched from are allowed too, as their addresses alone forbid it."""


def write_hosts(file: Path) -> Path:
    """ADDRESSES as a hosts file."""
    file.write_text("".join(f"{address}\t{name}\n" for name, found in ADDRESSES.items() for address in found))
    return file


def fetching_flags(hosts: Path) -> list[str]:
    """Flags of a server that may fetch from LISTED, and finds the addresses in a file that is written here."""
    listed = ["--allowed-media-domains", *LISTED, PUBLIC, "127.0.0.1", "::1"]
    return [*listed, "--fetch-networks", f"{PUBLIC}/32", "--fetch-hosts-file", str(write_hosts(hosts))]


class Counting(ThreadingHTTPServer):
    """Answers on every address of this machine.

    asked: by path, and by the address that was connected to. content: of a picture.
    """

    daemon_threads = True

    def __init__(self, content: bytes) -> None:
        super().__init__(("0.0.0.0", 0), _Answer)
        self.content = content
        self.asked: Counter[str] = Counter()
        self.addresses: Counter[str] = Counter()
        self.leaving = threading.Event()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def handle_error(self, *_: object) -> None:
        """The other side may hang up at any time."""

    def url(self, path: str, host: str = HOST) -> str:
        return f"http://{host}:{self.port}{path}"


class _Answer(BaseHTTPRequestHandler):
    server: Counting

    def do_GET(self) -> None:
        here = self.server
        here.asked[self.path] += 1
        here.addresses[self.connection.getsockname()[0]] += 1
        kind, _, rest = self.path[1:].partition("/")
        match kind:
            case "picture":
                self._send(200, here.content)
            case "status":
                self._send(int(rest.partition("/")[0]), b"no")
            case "to":  # a redirect to the rest, which is a URL
                self._send(302, b"", Location=rest)
            case "round":
                self._send(302, b"", Location=self.path)
            case "chain":  # as many redirects as the number says, then the picture
                left = int(rest)
                self._send(302, b"", Location=f"/chain/{left - 1}" if left > 1 else "/picture/end")
            case "large":
                self._send(200, b"\0" * (3 * 2**20))
            case "endless":
                self._drip(lambda: b"\0" * 2**16, pause=0)
            case "drip":
                self._drip(lambda: b"\0", pause=0.2)
            case "silent":
                here.leaving.wait()
            case "gzip":
                self._send(200, here.content, **{"Content-Encoding": "gzip"})
            case "text":
                self._send(200, b"<html>not a picture</html>")
            case _:
                self._send(404, b"")

    def _send(self, status: int, content: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _drip(self, piece, pause: float) -> None:
        self.send_response(200)
        self.end_headers()
        while not self.server.leaving.wait(pause):
            self.wfile.write(piece())

    def log_message(self, *_: object) -> None:
        """Nothing is written."""


@contextmanager
def counting(content: bytes) -> Iterator[Counting]:
    """Such a server for the time of the block."""
    server = Counting(content)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.leaving.set()
        server.shutdown()
        server.server_close()
        thread.join()
