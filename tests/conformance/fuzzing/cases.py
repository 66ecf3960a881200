"""The numbered cases: the same seed and number always make the same request."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from .bodies import Good
from .mutations import spoil_bytes, spoil_document

JSON = "application/json"
HEADERS: tuple[Mapping[str, str], ...] = (
    {"content-type": "text/plain"},
    {"content-type": ""},
    {"content-type": "application/json; charset=utf-16"},
    {"content-type": "multipart/form-data; boundary=x"},
    {"content-type": "application/x-www-form-urlencoded"},
    {"content-type": JSON, "content-encoding": "gzip"},
    {"content-type": JSON, "accept": "text/html"},
    {"content-type": "application/vnd.x+json"},
)


@dataclass(frozen=True, slots=True)
class Case:
    """One spoilt request.

    place: of what was spoilt, where that is one value. fits: whether the API's schema has values of such a type there;
    None where that is not known.
    """

    number: int
    path: str
    content: bytes
    headers: Mapping[str, str]
    place: str | None = None
    fits: bool | None = None

    def told(self) -> str:
        """What is sent, long runs of letters shortened."""
        content = re.sub(rb"[A-Za-z0-9+/]{200,}", lambda long: long[0][:24] + b"..." + long[0][-8:], self.content)
        return f"case {self.number}: POST {self.path} {dict(self.headers)} {content[:1500]!r}"


def make_case(
    seed: int,
    number: int,
    good: Sequence[Good],
    fields: Mapping[str, Sequence[str]],
    longest: int | None = None,
) -> Case:
    """The request of this number.

    Two in five are streams where the endpoint has them; a third is spoilt more than once; one in eight has its bytes
    spoilt too, or only them; one in forty comes under wrong headers.

    Args:
        seed: of the whole run.
        number: of the case, from 0.
        good: what to begin with.
        fields: per path, the names of the fields that its body may have.
        longest: tokens of an answer, also where the body lost its limit; None leaves that as it came.
    """
    chance = Random(f"{seed}/{number}")
    start = good[number % len(good)]
    body = copy.deepcopy(start.body)
    if start.streams and chance.random() < 0.4:
        body["stream"] = True
        if "chat" in start.path and chance.random() < 0.5:
            body["stream_options"] = {"include_usage": True}
    on_bytes = chance.random()
    if on_bytes > 0.08:
        times = 1 if chance.random() < 0.67 else chance.randint(2, 5)
        spoil_document(body, chance, fields.get(start.path) or ("x",), times)
    if longest is not None:
        bound(body, start.path, longest)
    content = json.dumps(body, separators=(",", ":")).encode()
    if on_bytes < 0.12:
        content = spoil_bytes(content, chance)
    headers = chance.choice(HEADERS) if chance.random() < 0.025 else {"content-type": JSON}
    return Case(number, start.path, content, headers)


_CHAT = ("max_tokens", "max_completion_tokens")
_LIMITS: dict[str, tuple[str, ...]] = {
    "/v1/chat/completions": _CHAT,
    "/v1/chat/completions/batch": _CHAT,
    "/invocations": _CHAT,
    "/v1/responses": ("max_output_tokens",),
    "/v1/messages/count_tokens": (),
    "/tokenize": (),
    "/detokenize": (),
}
"""What bounds an answer of each path, where it is not `max_tokens` alone."""


def bound(body: dict[str, Any], path: str, longest: int) -> None:
    """Let no answer be longer than so many tokens; a limit that is refused stays."""
    for name in _LIMITS.get(path, ("max_tokens",)):
        value = body.get(name)
        if value is None or (isinstance(value, int | float) and value > longest):
            body[name] = longest
