"""Asks our server on behalf of a harness: our fields in every request, several at a time, every answer kept.

What the server will not answer (a picture beyond its limits, say) is an answer with a code, so that one question of
thousands does not end a run; what stands in the way of all questions does end it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from openai import APIError, APIStatusError, OpenAI

from sppruner_vllm.request.fields import REDUCTION_METHOD, REQUEST_FIELDS

from .kept_answers import KeptAnswer, KeptAnswers

DEFAULT_URL: Final = "http://127.0.0.1:8000/v1"
TRIES: Final = 8
"""Further tries at a server that is busy or away; the SDK waits between them, as long as the server says."""

_OF_THE_QUESTION: Final = frozenset(
    {
        "invalid_image",
        "image_too_large",
        "too_many_unreduced_tokens",
        "context_length_exceeded",
        "request_too_large",
    }
)
"""Codes of refusals that lie with one question alone."""

Messages = list[dict[str, Any]]


class HarnessFailed(RuntimeError):
    """The server answers no question; the message says why, in one line."""


@dataclass(frozen=True, slots=True)
class Asking:
    """A question of a harness. label: its name there. messages: made when needed, as pictures take memory.
    options: further fields of the request.
    """

    label: str
    messages: Callable[[], Messages]
    options: Mapping[str, Any]


class HarnessClient:
    """A model behind our server, under one setting of our fields."""

    def __init__(
        self,
        url: str,
        model: str | None,
        fields: Mapping[str, Any],
        *,
        answers: Path | None = None,
        run: str = "",
        concurrency: int = 8,
        api_key: str = "none",
        timeout: float = 600.0,
    ) -> None:
        """Connect.

        Args:
            url: with or without `/v1`.
            model: name the server serves it under; None takes the first it lists.
            fields: of `REQUEST_FIELDS`; None leaves one to the server.
            answers: file in which answers are kept; None keeps none.
            run: what must not have changed for a kept answer to count: model, weights, algorithm.
            concurrency: most requests under way at a time.
            api_key: sent as a bearer token.
            timeout: seconds for one answer.

        Raises:
            HarnessFailed: no such server.
            ValueError: a field that no request has.
        """
        if unknown := set(fields) - set(REQUEST_FIELDS):
            raise ValueError(f"no request has the field {', '.join(sorted(unknown))}")
        base = url.rstrip("/").removesuffix("/v1")
        self._fields = {name: value for name, value in fields.items() if value is not None}
        self._concurrency = concurrency
        self._client = OpenAI(base_url=f"{base}/v1", api_key=api_key, timeout=timeout, max_retries=TRIES)
        try:
            self.model = model or self._client.with_options(max_retries=0).models.list().data[0].id
        except (APIError, IndexError) as error:
            raise HarnessFailed(f"no model is served at {base}: {error}") from error
        self._run = run_name(run, fields)
        self._kept = KeptAnswers(answers, self._run)

    def ask(self, askings: Sequence[Asking], done: Callable[[], None] = lambda: None) -> list[KeptAnswer]:
        """One answer per question, in their order.

        Args:
            askings: the questions; those that were answered before are not sent.
            done: called after each.

        Raises:
            HarnessFailed: the server cannot be reached, or refuses what all questions have in common.
        """

        def one(asking: Asking) -> KeptAnswer:
            answer = self.answer(asking)
            done()
            return answer

        with ThreadPoolExecutor(self._concurrency) as pool:
            waiting = [pool.submit(one, asking) for asking in askings]
            try:
                return [answer.result() for answer in waiting]
            finally:
                for answer in waiting:
                    answer.cancel()

    def answer(self, asking: Asking) -> KeptAnswer:
        """The answer to one question, from the server unless it is kept."""
        body = {"messages": asking.messages(), **asking.options}
        key = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:24]
        if (kept := self._kept.get(asking.label, key)) is not None:
            return kept
        pictures = list(_pictures(body["messages"]))
        width, height = _size(pictures[0]) if pictures else (None, None)
        shown = hashlib.sha256("\n".join(pictures).encode()).hexdigest()[:16]
        told = self._sent(body)
        answer = KeptAnswer(self._run, asking.label, key, shown, width=width, height=height, **told)
        self._kept.add(answer)
        return answer

    def _sent(self, body: Mapping[str, Any]) -> dict[str, Any]:
        try:
            completion = self._client.chat.completions.create(model=self.model, extra_body=self._fields or None, **body)
        except APIStatusError as error:
            if error.code in _OF_THE_QUESTION:
                return {"text": "", "refused": error.code}
            raise HarnessFailed(_said(error)) from error
        except APIError as error:
            raise HarnessFailed(_said(error)) from error
        usage = completion.usage
        details = usage.prompt_tokens_details if usage else None
        visual = ((details.model_extra if details else None) or {}).get("visual_tokens") or {}
        return {
            "text": completion.choices[0].message.content or "",
            "original": visual.get("original"),
            "retained": visual.get("retained"),
            "prompt_tokens": usage.prompt_tokens if usage else None,
            "completion_tokens": usage.completion_tokens if usage else None,
        }


def run_name(run: str, fields: Mapping[str, Any]) -> str:
    """What a kept answer's `run` says: the caller's own word, and the fields it was asked under."""
    given = {name: value for name, value in sorted(fields.items()) if value is not None}
    return json.dumps([run, given])


def _said(error: APIError) -> str:
    body = error.body
    message = str((body.get("message") if isinstance(body, dict) else None) or error.message)
    if isinstance(error, APIStatusError) and error.param == REDUCTION_METHOD:
        message += " Start the server with --allow-reduction-method."
    return message


def _pictures(messages: Messages) -> Iterator[str]:
    """The address of every picture: a data URL, as harnesses send them."""
    for message in messages:
        content = message["content"]
        for part in content if isinstance(content, list) else []:
            if part["type"] == "image_url":
                yield part["image_url"]["url"]


def _size(url: str) -> tuple[int | None, int | None]:
    """(width, height) of a PNG in a data URL, as its head says; of anything else (None, None)."""
    head = base64.b64decode(url.partition("base64,")[2][:32])
    if head[12:16] != b"IHDR":
        return None, None
    width, height = struct.unpack(">II", head[16:24])
    return width, height
