"""What every way of asking has in common: what goes out, what comes back, how it fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sppruner_vllm.request.fields import FOCUS_QUERY, FOCUS_SCOPE, KEEP_RATIO, REDUCTION_METHOD
from sppruner_vllm.settings import FocusScope

from .conditions import FULL, Condition
from .questions import Question


class AskingFailed(RuntimeError):
    """No answer can be had; the message says why and what to do, in one line."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How questions are put; decoding is greedy.

    max_tokens: longest answer. instruction: text after each question, as in "Answer with one word.".
    focus_query: steers the selection in place of the question; None leaves the question in force. focus_scope: whom
    selections serve; None leaves it to the server. seed: for the sampler, recorded with the answers.
    """

    max_tokens: int = 32
    instruction: str = ""
    focus_query: str | None = None
    focus_scope: FocusScope | None = None
    seed: int = 0

    def prompt(self, question: Question) -> str:
        """The text that is sent beside the pictures."""
        return f"{question.text}\n{self.instruction}" if self.instruction else question.text

    def fields(self, condition: Condition, focus: str | None = None) -> dict[str, Any]:
        """Our request fields for a condition.

        Args:
            focus: of the question (`Question.focus`); the run's own, for all questions, goes before it.
        """
        fields: dict[str, Any] = {KEEP_RATIO: condition.ratio}
        if condition != FULL:
            fields[REDUCTION_METHOD] = condition.method
            steering = focus if self.focus_query is None else self.focus_query
            if steering is not None:
                fields[FOCUS_QUERY] = steering
            if self.focus_scope is not None:
                fields[FOCUS_SCOPE] = self.focus_scope
        return fields


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer and its cost; None where the backend cannot tell.

    original, retained: visual tokens before and after reduction. prompt_tokens: whole prompt after it.
    ttft: seconds from sending to the first token. seconds: to the end of the answer.
    """

    text: str
    original: int | None
    retained: int | None
    prompt_tokens: int | None
    ttft: float | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Usable:
    """Conditions that a backend can be asked under. note: why they are fewer than wanted; empty when they are not."""

    conditions: list[Condition]
    note: str = ""


class Asker(Protocol):
    """A backend. `model` names what answers, `stamp` tells two states of it apart, `facts` go into the run's header."""

    model: str
    stamp: str
    facts: Mapping[str, str]

    def usable(self, question: Question, wanted: Sequence[Condition]) -> Usable:
        """What of `wanted`, FULL included, this backend can be asked under; tried with one question.

        Raises:
            AskingFailed: it refuses a condition; better now than after an hour.
        """
        ...

    def ask(self, questions: Sequence[Question], condition: Condition) -> list[Answer]:
        """One answer per question, in their order.

        Raises:
            AskingFailed: a question was not answered.
        """
        ...
