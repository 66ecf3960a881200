"""A chat server of plain sockets for tests of the load generator: it streams what it is told, and can fail midway.

It stands in for a model only where a test needs a fault or a pace that a real server would not show on demand.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

GAUGES = """vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25
vllm:num_requests_waiting{engine="0"} 3.0
sppruner_default_keep_ratio 0.75
sppruner_requests_waiting 5.0
"""


class ChatServer(ThreadingHTTPServer):
    """Remembers what it was sent, and from where. Every answer has `tokens` tokens, `pause` seconds apart.

    fault: "refuse" answers 503, "cut" closes the connection in the middle, None does neither.
    together: no answer begins before so many requests are under way.
    hangs_up: a connection is closed after its first answer, without a word; `hung_up` tells when that is done.
    """

    daemon_threads = True
    request_queue_size = 256

    def __init__(
        self,
        tokens: int = 4,
        pause: float = 0.0,
        fault: str | None = None,
        together: int = 1,
        hangs_up: bool = False,
        port: int = 0,
    ) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.tokens, self.pause, self.fault, self.hangs_up = tokens, pause, fault, hangs_up
        self.hung_up = threading.Event()
        self.bodies: list[dict] = []
        self.callers: list[tuple] = []
        self.paths: list[str] = []
        self.keys: list[str | None] = []
        self.lock = threading.Lock()
        self.gate = threading.Barrier(together, timeout=120)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def shutdown_request(self, request) -> None:
        super().shutdown_request(request)
        self.hung_up.set()

    def handle_error(self, request, client_address) -> None:
        """Clients that leave are part of the tests."""


@contextmanager
def chat_server(**options) -> Iterator[ChatServer]:
    """A server that runs while the block lasts."""
    with ChatServer(**options) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: ChatServer

    def log_message(self, *args) -> None:
        pass

    def do_GET(self) -> None:
        page = GAUGES if self.path == "/metrics" else json.dumps({"data": [{"id": "m", "root": "m"}]})
        self._whole(200, page)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        with server.lock:
            server.bodies.append(body)
            server.callers.append(self.client_address)
            server.paths.append(self.path)
            server.keys.append(self.headers["Authorization"])
        server.gate.wait()
        if server.fault == "refuse":
            self._whole(503, json.dumps({"error": {"message": "no room", "code": "overloaded"}}))
        else:
            self._stream(body)
        if server.hangs_up:
            self.close_connection = True

    def _stream(self, body: dict) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self._event(_choice({"role": "assistant", "content": ""}))
        for number in range(self.server.tokens):
            time.sleep(self.server.pause)
            last = number == self.server.tokens - 1
            self._event(_choice({"content": f"w{number} "}, "length" if last else None))
            if self.server.fault == "cut":
                self.close_connection = True
                return
        self._event({"choices": [], "usage": _usage(body, self.server.tokens)})
        self._event("[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def _event(self, event: dict | str) -> None:
        data = f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n".encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def _whole(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())


def _choice(delta: dict, finish: str | None = None) -> dict:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def _usage(body: dict, tokens: int) -> dict:
    """100 visual tokens per image, of which the request's keep_ratio is kept."""
    parts = [
        part for message in body["messages"] if isinstance(message["content"], list) for part in message["content"]
    ]
    original = 100 * sum(part["type"] == "image_url" for part in parts)
    retained = int(original * body.get("keep_ratio", 1))
    usage = {"prompt_tokens": 10 + retained, "completion_tokens": tokens}
    if original:
        usage["prompt_tokens_details"] = {"visual_tokens": {"original": original, "retained": retained}}
    return usage


if __name__ == "__main__":  # as a program: `--port PORT`, and whatever else it is given
    ChatServer(port=int(sys.argv[sys.argv.index("--port") + 1])).serve_forever()
