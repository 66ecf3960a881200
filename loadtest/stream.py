"""Reads a streamed chat completion and keeps its times: first token, gaps between chunks, end.

Knows bytes and a clock's readings, not who sent them: no Locust, no HTTP. One object per answer.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

DONE: Final = "[DONE]"
_OUTPUT_FIELDS: Final = ("content", "reasoning_content", "reasoning", "tool_calls")


@dataclass(frozen=True, slots=True)
class Usage:
    """What the server says an answer took. The visual tokens are 0 when it names none."""

    prompt_tokens: int
    output_tokens: int
    visual_original: int = 0
    visual_retained: int = 0


@dataclass(frozen=True, slots=True)
class StreamedAnswer:
    """One answer as its client saw it. All times are seconds from sending the request.

    ttft_s: until the first chunk that can hold a token; None when there was none.
    end_s: until the last chunk with a choice; the usage that follows it carries no token.
    gaps_s: between chunks that can hold tokens. A chunk may hold several tokens, so these are not times per token.
    error: None for a complete answer.
    """

    ttft_s: float | None
    end_s: float
    gaps_s: tuple[float, ...]
    usage: Usage
    text: str
    error: str | None

    @property
    def tpot_s(self) -> float | None:
        """Seconds per output token after the first; None for fewer than two tokens."""
        if self.ttft_s is None or self.usage.output_tokens < 2:
            return None
        return (self.end_s - self.ttft_s) / (self.usage.output_tokens - 1)


def failed(error: str, after_s: float) -> StreamedAnswer:
    """An answer that never began."""
    return StreamedAnswer(None, after_s, (), Usage(0, 0), "", error)


class ChatStream:
    """Server-sent events in, one `StreamedAnswer` out.

    Bytes may be cut anywhere; comments (`: ping`) are skipped; the chunk that only names the role is no token.
    """

    def __init__(self, sent_at: float) -> None:
        self._sent_at = sent_at
        self._rest = b""
        self._event: list[str] = []
        self._ttft: float | None = None
        self._last: float | None = None
        self._end: float | None = None
        self._gaps: list[float] = []
        self._usage: Usage | None = None
        self._text: list[str] = []
        self._error: str | None = None
        self.done = False

    def feed(self, data: bytes, at: float) -> None:
        """Take what arrived at the time `at`, on the clock of `sent_at`."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._line(line.removesuffix(b"\r").decode(errors="replace"), at - self._sent_at)

    def answer(self, ended_at: float) -> StreamedAnswer:
        """What came of it; call it once the stream has ended.

        Args:
            ended_at: counts as the end when no chunk had a choice.
        """
        error = self._error
        if error is None and not self.done:
            error = "the stream ended before its end mark"
        if error is None and self._usage is None:
            error = "the stream had no usage: the server ignores stream_options.include_usage"
        if error is None and self._ttft is None:
            error = "the stream had no token"
        end = ended_at - self._sent_at if self._end is None else self._end
        usage = self._usage or Usage(0, 0)
        return StreamedAnswer(self._ttft, end, tuple(self._gaps), usage, "".join(self._text), error)

    def _line(self, line: str, at: float) -> None:
        if line.startswith("data:"):
            self._event.append(line.removeprefix("data:").removeprefix(" "))
        elif not line and self._event:
            data, self._event = "\n".join(self._event), []
            self._data(data, at)

    def _data(self, data: str, at: float) -> None:
        if data == DONE:
            self.done = True
            return
        try:
            document = json.loads(data)
        except json.JSONDecodeError:
            self._error = self._error or f"not JSON: {data[:120]}"
            return
        if not isinstance(document, dict):
            self._error = self._error or f"not an object: {data[:120]}"
        elif (problem := document.get("error")) is not None:
            self._error = self._error or error_message(problem)
        else:
            self._chunk(document, at)

    def _chunk(self, chunk: dict[str, Any], at: float) -> None:
        if (usage := chunk.get("usage")) is not None:
            self._usage = read_usage(usage)
        for choice in chunk.get("choices") or ():
            self._end = at
            delta = choice.get("delta") or {}
            self._text.append(delta.get("content") or "")
            if _can_hold_a_token(delta, choice):
                self._token(at)

    def _token(self, at: float) -> None:
        if self._last is None:
            self._ttft = at
        else:
            self._gaps.append(at - self._last)
        self._last = at


def _can_hold_a_token(delta: dict[str, Any], choice: dict[str, Any]) -> bool:
    """False for the opening chunk alone: it names the role and nothing else.

    Empty text elsewhere is a token still: half a character, or the mark that ends the answer.
    """
    if "role" not in delta or choice.get("finish_reason"):
        return True
    return any(delta.get(field) for field in _OUTPUT_FIELDS)


def read_usage(usage: dict[str, Any]) -> Usage:
    """The usage object of a chat completion, with the visual tokens where the server reports them."""
    visual = (usage.get("prompt_tokens_details") or {}).get("visual_tokens") or {}
    return Usage(
        prompt_tokens=int(usage.get("prompt_tokens") or 0),
        output_tokens=int(usage.get("completion_tokens") or 0),
        visual_original=int(visual.get("original") or 0),
        visual_retained=int(visual.get("retained") or 0),
    )


def error_message(problem: object) -> str:
    """The message of an OpenAI error object, or of whatever stands in its place."""
    if isinstance(problem, dict):
        return str(problem.get("message") or problem)
    return str(problem)
