"""Sends the cases, and judges every answer."""

from __future__ import annotations

import json
import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx

from .bodies import Good
from .cases import Case

ANSWER_SECONDS = 120.0
STRANGERS = ("/v1/messages",)
"""Paths whose errors have Anthropic's shape."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What a server must not do. kind: equal for like faults. number: of the case. told: the whole story."""

    kind: str
    number: int
    told: str


@dataclass(slots=True)
class Findings:
    """What came of a run: answers by status, and faults."""

    statuses: Counter[int] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)

    def by_kind(self) -> dict[str, list[Fault]]:
        """Like faults together."""
        kinds: dict[str, list[Fault]] = {}
        for fault in self.faults:
            kinds.setdefault(fault.kind, []).append(fault)
        return kinds


def check_answer(case: Case, status: int, headers: httpx.Headers, body: bytes) -> Iterator[Fault]:
    """What is wrong with an answer."""
    kinds: list[str] = []
    if status >= 500:
        kinds.append(f"{status} {_said(body)}")
    elif status >= 400:
        if (complaint := _unreadable(case.path, body)) is not None:
            kinds.append(f"a {status} nobody can read ({complaint})")
        elif case.place is not None and not _names(body, case.place):
            kinds.append(f"a refusal that does not name {case.place}")
    elif case.fits is False:
        kinds.append(f"a value for {case.place} that does not fit, and is taken")
    elif headers.get("content-type", "").startswith("text/event-stream"):
        kinds += _broken_stream(case.path, body)
    for kind in kinds:
        yield Fault(f"{kind} at {case.path}", case.number, f"{status} {body[:600]!r} to {case.told()}")


def _names(body: bytes, place: str) -> bool:
    """Whether an error's `param` is a place, or one below or above it; a body that is no JSON has none."""
    error = json.loads(body)["error"]
    param = error["param"] or ""
    one, other = sorted((f"{param.replace('[', '.[')}.", f"{place.replace('[', '.[')}."), key=len)
    return error["code"] == "invalid_json" or (bool(param) and other.startswith(one))


def _said(body: bytes) -> str:
    """The beginning of an error's message, or of the bytes that are none."""
    try:
        return str(json.loads(body)["error"]["message"])[:80]
    except (ValueError, KeyError, TypeError):
        return repr(body[:80])


def _unreadable(path: str, body: bytes) -> str | None:
    """Why a refusal is not in the shape of its API, or None."""
    try:
        document = json.loads(body)
        error: Any = document["error"]
    except (ValueError, KeyError, TypeError):
        return "no JSON object with an error"
    if not isinstance(error, dict):
        return "the error is no object"
    wanted = {"message": str, "type": str}
    if path.startswith(STRANGERS):
        if document.get("type") != "error":
            return "not Anthropic's shape"
    else:
        wanted["code"] = str
        if "param" not in error or not isinstance(error["param"], str | None):
            return "no param"
    wrong = [name for name, kind in wanted.items() if not isinstance(error.get(name), kind) or not error[name]]
    return f"{', '.join(wrong)} missing or of another type" if wrong else None


def _broken_stream(path: str, body: bytes) -> Iterator[str]:
    """What is wrong with a stream that began with a 200."""
    events = [line.removeprefix("data:").strip() for line in body.decode().splitlines() if line.startswith("data:")]
    for event in events:
        if event == "[DONE]":
            continue
        try:
            document = json.loads(event)
        except ValueError:
            yield "a stream with an event that is no JSON"
            continue
        if document.get("error") or document.get("type") in ("error", "response.failed"):
            yield f"a stream that failed after its 200: {_said(event.encode())}"
    if not events:
        yield "a stream without an event"
    elif not path.startswith(("/v1/messages", "/v1/responses")) and events[-1] != "[DONE]":
        yield "a stream without an end"


class Fuzzer:
    """Sends cases over held connections, one for each of its threads, so that a reset shows in the next request."""

    def __init__(self, url: str, good: list[Good], headers: dict[str, str] | None = None, threads: int = 4) -> None:
        self._url, self._good, self._headers, self._threads = url, good, headers or {}, threads

    def run(self, cases: Iterable[Case], on_answer: Callable[[], None] = lambda: None) -> Findings:
        """Send all cases and what is owed between them.

        Args:
            cases: requests to send.
            on_answer: called after each of them.
        """
        findings, lock, waiting = Findings(), threading.Lock(), queue.SimpleQueue[Case | None]()
        for case in cases:
            waiting.put(case)
        for _ in range(self._threads):
            waiting.put(None)

        def work() -> None:
            with self._client() as client:
                while (case := waiting.get()) is not None:
                    status, faults = self._ask(client, case)
                    with lock:
                        findings.statuses[status] += 1
                        findings.faults += faults
                        on_answer()

        threads = [threading.Thread(target=work, daemon=True) for _ in range(self._threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return findings

    def _client(self) -> httpx.Client:
        limits = httpx.Limits(max_connections=1, max_keepalive_connections=1)
        return httpx.Client(base_url=self._url, headers=self._headers, timeout=ANSWER_SECONDS, limits=limits)

    def _ask(self, client: httpx.Client, case: Case) -> tuple[int, list[Fault]]:
        """One case, and now and then a good request behind it on the same connection: status and faults."""
        try:
            answer = client.post(case.path, content=case.content, headers=dict(case.headers))
        except httpx.HTTPError as broken:
            fault = Fault(f"no answer ({broken!r}) at {case.path}", case.number, case.told())
            return 0, [fault, *self._good_one(client, case)]
        faults = list(check_answer(case, answer.status_code, answer.headers, answer.content))
        if faults or case.number % 10 == 0:
            faults += self._good_one(client, case)
        return answer.status_code, faults

    def _good_one(self, client: httpx.Client, case: Case) -> list[Fault]:
        """A good request, which must be answered as ever."""
        request = self._good[case.number // 10 % len(self._good)]
        try:
            answer = client.post(request.path, json=request.body)
            came = "" if answer.status_code == 200 else f"{answer.status_code} {_said(answer.content)}"
        except httpx.HTTPError as broken:
            came = f"no answer ({broken!r})"
        return [Fault(f"a good request got {came} at {request.path}", case.number, case.told())] if came else []
