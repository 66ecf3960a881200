"""What the tests of stopping share: requests in flight for certain, signals, and what a server leaves behind."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from serving import MODEL_NAME, WAIT_SECONDS, Server, chat_body, eventually, frozen, metric, responses_body, sse_data

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
RESPONSES, MESSAGES = "/v1/responses", "/v1/messages"

Request = tuple[str, dict[str, object]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client got: status, headers, and the JSON documents of the body or of the events of a stream."""

    status: int
    headers: httpx.Headers
    documents: list[dict[str, object]]

    @property
    def errors(self) -> list[str]:
        """The codes of the errors in it."""
        found = [document["error"] for document in self.documents if document.get("error")]
        return [str(error["code"]) for error in found if isinstance(error, dict)]

    @property
    def text(self) -> str:
        return repr(self.documents)


def of_each_kind(**fields: object) -> list[Request]:
    """A request of every API, whole and as a stream."""
    prompt = {"model": MODEL_NAME, "prompt": "what is this", "max_tokens": 4, "temperature": 0}
    said = {"model": MODEL_NAME, "max_tokens": 4, "messages": [{"role": "user", "content": "what is this"}]}
    kinds: list[Request] = [
        (CHAT, chat_body()),
        (COMPLETIONS, prompt),
        (RESPONSES, responses_body()),
        (MESSAGES, said),
    ]
    return [(path, {**body, "stream": stream, **fields}) for path, body in kinds for stream in (False, True)]


def ask(url: str, request: Request) -> Answer:
    """Send a request on a connection of its own and read the answer to its end."""
    path, body = request
    answer = httpx.post(url + path, json=body, timeout=WAIT_SECONDS)
    whole = answer.headers["content-type"].startswith("application/json")
    return Answer(answer.status_code, answer.headers, [answer.json()] if whole else sse_data(answer.text))


@contextmanager
def held(server: Server, requests: list[Request], already: int = 0) -> Iterator[list[Future[Answer]]]:
    """Requests that are in flight for as long as the block lasts, since their engine stands still.

    Args:
        already: requests in flight besides.
    """
    with ThreadPoolExecutor(len(requests)) as threads, frozen(server):
        answers = [threads.submit(ask, server.url, request) for request in requests]
        with httpx.Client(base_url=server.url, timeout=WAIT_SECONDS) as client:
            expected = already + sum(path != COMPLETIONS for path, _ in requests)  # those we do not count
            assert eventually(lambda: metric(client, "sppruner_requests_in_flight") == expected)
        yield answers


def signal_group(server: Server, number: signal.Signals) -> None:
    """What a service manager, a terminal that closes or Ctrl-C does: every process of the server gets the signal."""
    os.killpg(server.process.pid, number)


def all_serve(server: Server, api_processes: int) -> bool:
    """Whether every API process serves; the first one that does makes the server ready."""
    return server.log.read_text(errors="replace").count("Application startup complete.") == api_processes


def drains(server: Server, api_processes: int = 1) -> bool:
    """Whether every API process has closed its gate: each says so once it has."""
    return server.log.read_text(errors="replace").count("] stopping: ") == api_processes


def segments(server: Server) -> set[Path]:
    """The segments of shared memory that processes of a server hold."""
    root = psutil.Process(server.process.pid)
    found: set[Path] = set()
    for process in (root, *root.children(recursive=True)):
        with suppress(OSError):
            maps = Path(f"/proc/{process.pid}/maps").read_text()
            found |= {Path(name) for name in re.findall(r"/dev/shm/\S+", maps)}
    return {path for path in found if path.exists()}


def left_behind(server: Server, before: set[Path]) -> Callable[[], list[str]]:
    """What of a server is still there: processes of its group, and segments that it held."""
    return lambda: [*server.living(), *(str(path) for path in before if path.exists())]
