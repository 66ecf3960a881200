"""Asks any OpenAI-compatible server, several questions at a time, streamed so that the first token is timed.

A server that knows nothing of keep_ratio can still be asked for the reference. Where the server is vLLM, every picture
gets a new `uuid`: vLLM keys its caches by it, so no answer is timed on the back of an earlier one.
"""

from __future__ import annotations

import asyncio
import base64
import time
import uuid
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

from openai import APIError, AsyncOpenAI, BadRequestError
from openai.types import CompletionUsage
from openai.types.chat import ChatCompletionChunk

from sppruner_vllm.request.fields import REDUCTION_METHOD

from .asking import Answer, AskingFailed, Manner, Usable
from .conditions import FULL, Condition
from .model_stamp import model_stamp
from .pictures import media_type
from .questions import Question
from .turns import messages

_TIMEOUT: Final = 600.0

OPEN: Final = "Start it with --allow-reduction-method (or SPPRUNER_ALLOW_METHOD=1) to compare methods."


class MethodClosed(AskingFailed):
    """The server's operator lets no request choose the method."""


class HttpAsker:
    """A server at an address; use it in a `with` block."""

    def __init__(self, url: str, model: str | None, manner: Manner, concurrency: int, api_key: str = "none") -> None:
        """Connect.

        Args:
            url: with or without `/v1`.
            model: name the server serves it under; None takes the first it lists.
            manner: how to ask.
            concurrency: most requests under way at a time.
            api_key: sent as a bearer token.

        Raises:
            AskingFailed: no such server or model.
        """
        base = url.rstrip("/").removesuffix("/v1")
        self._manner, self._concurrency = manner, concurrency
        self._ours = self._uncached = True
        self._own_method: str | None = None
        self._runner = asyncio.Runner()
        self._client = AsyncOpenAI(base_url=f"{base}/v1", api_key=api_key, timeout=_TIMEOUT)
        try:
            self.model, root = self._runner.run(self._find(base, model))
        except BaseException:
            self._close()
            raise
        self.stamp = model_stamp(root)
        self.facts: Mapping[str, str] = {"backend": "http", "url": base, "concurrency": str(concurrency)}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        self._runner.run(self._client.close())
        self._runner.close()

    async def _find(self, base: str, name: str | None) -> tuple[str, str]:
        """The model's name on the server, and its folder where the server says so (vLLM does)."""
        try:
            page = await self._client.models.list()
        except APIError as error:
            raise AskingFailed(f"no OpenAI-compatible server answers at {base}: {error}") from error
        if not page.data:
            raise AskingFailed(f"{base} serves no model")
        self._uncached = all(model.owned_by == "vllm" for model in page.data)
        listed = {model.id: (model.model_extra or {}).get("root") or "" for model in page.data}
        if name is not None and name not in listed:
            raise AskingFailed(f"{base} does not serve {name}; it serves {', '.join(listed)}")
        found = name or next(iter(listed))
        return found, listed[found]

    def usable(self, question: Question, wanted: Sequence[Condition]) -> Usable:
        if not self._reduces(question):
            note = "The server counts no visual tokens, so it reduces none: only the full image is measured."
            return Usable([FULL], note)
        open_to_us = [condition for condition in wanted if self._accepts(question, condition)]
        if len(open_to_us) == len(wanted):
            return Usable(open_to_us)
        note = f"The server lets no request choose the method, so only its own, {self._own_method}, is measured. {OPEN}"
        if all(condition == FULL for condition in open_to_us):
            raise AskingFailed(f"the server lets no request choose another method than {self._own_method}. {OPEN}")
        return Usable(open_to_us, note)

    def _accepts(self, question: Question, condition: Condition) -> bool:
        try:
            self.ask([question], condition)
        except MethodClosed:
            return False
        return True

    def _reduces(self, question: Question) -> bool:
        """Whether the server says how many visual tokens there were, which only one with our plugin does."""
        try:
            return self.ask([question], FULL)[0].retained is not None
        except AskingFailed as refusal:
            # Perhaps it refuses fields it does not know, as OpenAI's own API does.
            self._ours = self._uncached = False
            if self.ask([question], FULL)[0].retained is not None:
                raise refusal from None
            return False

    def ask(self, questions: Sequence[Question], condition: Condition) -> list[Answer]:
        chats = [self._messages(question) for question in questions]
        fields = [self._fields(condition, question.focus) for question in questions]
        try:
            return self._runner.run(self._ask_all(chats, fields, condition))
        except APIError as error:
            raise _explained(error, condition) from error

    async def _ask_all(self, chats: Sequence[Any], fields: Sequence[Any], condition: Condition) -> list[Answer]:
        places = asyncio.Semaphore(self._concurrency)

        async def ask(chat: Any, ours: Any) -> Answer:
            async with places:
                return await self._ask_one(chat, ours, condition)

        tasks = [asyncio.create_task(ask(chat, ours)) for chat, ours in zip(chats, fields, strict=True)]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _ask_one(self, chat: Any, fields: Any, condition: Condition) -> Answer:
        started = time.perf_counter()
        stream = await self._client.chat.completions.create(
            model=self.model,
            messages=chat,
            max_tokens=self._manner.max_tokens,
            temperature=0,
            seed=self._manner.seed,
            stream=True,
            stream_options={"include_usage": True},
            extra_body=fields,
        )
        text, first, usage = "", None, None
        async for chunk in stream:
            piece, ended = _content(chunk)
            if first is None and (piece or ended):
                first = time.perf_counter() - started
            text += piece
            usage = chunk.usage or usage
        seconds = time.perf_counter() - started
        counts = _visual_tokens(usage)
        if condition == FULL:
            self._own_method = counts.get("method")
        prompt_tokens = usage.prompt_tokens if usage else None
        return Answer(text.strip(), counts.get("original"), counts.get("retained"), prompt_tokens, first, seconds)

    def _fields(self, condition: Condition, focus: str | None) -> dict[str, Any] | None:
        """Our request fields; the server's own method need not be named, and may not be where none is open."""
        if not self._ours:
            return None
        fields = self._manner.fields(condition, focus)
        if condition.method == self._own_method:
            del fields[REDUCTION_METHOD]
        return fields

    def _messages(self, question: Question) -> list[dict[str, Any]]:
        content: list[dict[str, Any]] = []
        for picture in question.images:
            data = picture.read()
            url = f"data:{media_type(data)};base64,{base64.b64encode(data).decode()}"
            part: dict[str, Any] = {"type": "image_url", "image_url": {"url": url}}
            if self._uncached:
                part["uuid"] = uuid.uuid4().hex
            content.append(part)
        return messages(self._manner.prompt(question), question.before, content)


def _content(chunk: ChatCompletionChunk) -> tuple[str, bool]:
    """Text of a chunk, and whether it ends the answer."""
    if not chunk.choices:
        return "", False
    return chunk.choices[0].delta.content or "", chunk.choices[0].finish_reason is not None


def _visual_tokens(usage: CompletionUsage | None) -> Mapping[str, Any]:
    """What the server says of visual tokens, in a part of the usage that OpenAI's types do not know; may be nothing."""
    details = usage.prompt_tokens_details if usage else None
    return ((details.model_extra if details else None) or {}).get("visual_tokens") or {}


def _explained(error: APIError, condition: Condition) -> AskingFailed:
    """The error in one line for a person."""
    if isinstance(error, BadRequestError) and error.param == REDUCTION_METHOD:
        if error.code == "unsupported_parameter":
            return MethodClosed(f"the server lets no request choose the method. {OPEN}")
        return AskingFailed(f"the server does not know {condition.method}: {_message(error)}; choose with --methods")
    return AskingFailed(f"{condition}: {_message(error)}")


def _message(error: APIError) -> str:
    body = error.body
    said = body.get("message") if isinstance(body, dict) else None
    return str(said or error.message)
