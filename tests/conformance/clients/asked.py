"""What every client asks, so that each test says only how its client says it."""

from __future__ import annotations

import base64
import io
import random
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
from PIL import Image
from tried import Endpoint

RATIO = 0.25
ORIGINAL, RETAINED = 64, 16
"""Visual tokens of the picture on Qwen2.5-VL, as sent and at RATIO."""

QUESTION = "what is this"
CHOICES = ["cat", "dog"]
SCHEMA: dict[str, Any] = {
    "title": "sight",
    "description": "what was seen",
    "type": "object",
    "properties": {"seen": {"type": "string", "enum": CHOICES}, "sure": {"type": "boolean"}},
    "required": ["seen", "sure"],
    "additionalProperties": False,
}
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "look", "description": "looks", "parameters": SCHEMA, "strict": True},
}
FOR_A_CALL = 400
"""Tokens for a tool call, whose markup is spelt out and may have white space between."""

ENOUGH = 64
"""Tokens for an answer of that schema, from a model whose tokens are mostly letters."""

HOLD_SECONDS = 90.0


def picture() -> str:
    """A PNG of 224x224 as a data URL."""
    noise = Image.frombytes("RGB", (16, 16), random.Random(3).randbytes(16 * 16 * 3)).resize((224, 224))
    buffer = io.BytesIO()
    noise.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def openai_messages() -> list[dict[str, Any]]:
    """The picture and the question, in OpenAI's form."""
    image = {"type": "image_url", "image_url": {"url": picture()}}
    return [{"role": "user", "content": [image, {"type": "text", "text": QUESTION}]}]


def is_sight(document: Any) -> bool:
    """Whether a document keeps to SCHEMA."""
    return document.keys() == {"seen", "sure"} and document["seen"] in CHOICES and document["sure"] in (True, False)


@contextmanager
def no_place_left(endpoint: Endpoint) -> Iterator[ExitStack]:
    """All the server's places are taken, until the block ends or what it is given is closed.

    Each by a stream whose client reads its beginning alone: some 10 MB of log-probabilities are more than both ends of
    a connection hold, so that it stays in flight however quick the server is.
    """
    deadline = time.monotonic() + HOLD_SECONDS
    with ExitStack() as held:
        for _ in range(endpoint.places or 0):
            while not _take_a_place(endpoint, held):  # the request before may be on its way out
                assert time.monotonic() < deadline, "the server's places were not free"
        yield held


def _take_a_place(endpoint: Endpoint, held: ExitStack) -> bool:
    body = {
        "model": endpoint.model,
        "messages": [{"role": "user", "content": QUESTION}],
        "stream": True,
        "max_tokens": 3900,
        "ignore_eos": True,
        "logprobs": True,
        "top_logprobs": 20,
    }
    with ExitStack() as stack:
        transport = httpx.HTTPTransport(socket_options=[(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)])
        client = stack.enter_context(httpx.Client(transport=transport, headers=endpoint.headers, timeout=HOLD_SECONDS))
        response = stack.enter_context(client.stream("POST", f"{endpoint.url}/v1/chat/completions", json=body))
        if response.status_code == 503:
            return False
        response.raise_for_status()
        pieces = response.iter_raw()
        next(pieces)
        stack.push(lambda *_: pieces.close())  # also holds it: a stream that is dropped is closed
        held.enter_context(stack.pop_all())
        return True
