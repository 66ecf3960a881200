"""Figures from records: medians, and ratios to stock vLLM paired round by round."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sppruner_vllm.planning.plan import retained_tokens

from . import ideal
from .arms import Arm
from .engine import BLOCK
from .protocol import Done
from .rounds import CELL, CROWD, LOAD, NEW, SECOND, TEXT, THIRD, Record, Size

_ASKED_ANEW = (SECOND, THIRD)


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, least and most of some values."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        ordered = sorted(values)
        return cls(statistics.median(ordered), ordered[0], ordered[-1])


@dataclass(frozen=True, slots=True)
class Timing:
    """Time to the first token of one measure in one arm.

    seconds: of it. speedup: stock's seconds over these. ideal: what the speed-up could be; None where it has no
    meaning. reached: speed-up over ideal.
    """

    seconds: Spread
    speedup: Spread
    ideal: Spread | None
    reached: Spread | None


@dataclass(frozen=True, slots=True)
class Throughput:
    """Of one arm under load. requests, tokens: per second. first, slow: median and 99th percentile of TTFT, seconds.

    gain: requests per second over stock's. sooner: stock's median TTFT over this one's. ideal, reached: of the gain.
    """

    requests: Spread
    tokens: Spread
    first: Spread
    slow: Spread
    gain: Spread
    sooner: Spread
    ideal: Spread | None
    reached: Spread | None


@dataclass(frozen=True, slots=True)
class Parts:
    """Where a new picture's seconds go, medians. decode: of one later step."""

    processing: float
    encoder: float
    selection: float
    language_model: float
    decode: float


@dataclass(frozen=True, slots=True)
class Crowd:
    """Requests that one KV cache holds at once.

    prompt: tokens of each, and blocks they take. most: requests running after any step. growth: times stock's.
    """

    prompt: int
    blocks: int
    most: int
    growth: float


class Results:
    """The records of one model, and what they come to."""

    def __init__(self, records: Sequence[Record], arms: Sequence[Arm], size: Size) -> None:
        """Args:
        records: of any round; those that warmed up are left out. arms: the first is stock. size: of the run.
        """
        self.arms, self._size = list(arms), size
        self._done: dict[tuple[str, str], dict[int, Done]] = {}
        for record in records:
            if record.round >= 0:
                self._done.setdefault((record.measure, record.arm), {})[record.round] = record.done

    def of(self, measure: str, arm: Arm) -> dict[int, Done]:
        """What was measured, by round; empty where this was not."""
        return self._done.get((measure, arm.name), {})

    @property
    def users(self) -> list[int]:
        """How many at once were measured."""
        return [number for number in self._size.users if self.of(LOAD.format(number), self.arms[0])]

    @property
    def text_tokens(self) -> int:
        """Tokens of a prompt with one picture that are not the picture's."""
        return _any(self.of(NEW, self.arms[0])).replies[0].prompt - self.visual_tokens

    @property
    def visual_tokens(self) -> int:
        return (self._size.side // CELL) ** 2

    def retained(self, arm: Arm) -> int:
        """Visual tokens in the prompt of a new picture."""
        return _any(self.of(NEW, arm)).replies[0].prompt - self.text_tokens

    def timing(self, measure: str, arm: Arm) -> Timing | None:
        """None where the arm was not asked."""
        mine, stock = self.of(measure, arm), self.of(measure, self.arms[0])
        if not mine:
            return None
        speedups = {number: _ttft(stock[number]) / _ttft(done) for number, done in mine.items()}
        ideals = {}
        if measure == NEW and self._selects(arm):
            ideals = {
                number: ideal.new_picture(stock[number].encoding, _model(stock[number]), self._share(arm, number, None))
                for number in mine
            }
        elif measure != NEW and arm.keep_ratio < 1 and self._selects(arm):
            ideals = self._later_ideals(measure, arm)
        return Timing(Spread.of(map(_ttft, mine.values())), Spread.of(speedups.values()), *_beside(speedups, ideals))

    def _later_ideals(self, measure: str, arm: Arm) -> dict[int, float]:
        """Of later questions with a selection of their own: stock's, plus the language model's work on kept tokens."""
        stock, first = self.of(measure, self.arms[0]), self.of(NEW, self.arms[0])
        if measure not in _ASKED_ANEW:
            return {}
        return {
            number: _ttft(done)
            / ideal.later_question(_ttft(done), _model(first[number]), self._share(arm, number, None))
            for number, done in stock.items()
        }

    def throughput(self, users: int, arm: Arm) -> Throughput | None:
        """None where the arm was not asked under load."""
        measure = LOAD.format(users)
        mine, stock = self.of(measure, arm), self.of(measure, self.arms[0])
        if not mine:
            return None
        gains = {number: _rate(done) / _rate(stock[number]) for number, done in mine.items()}
        ideals = {}
        if self._selects(arm):
            tokens = (self._size.small // CELL) ** 2 + self.text_tokens
            model = statistics.median(done.first_steps for done in self.of(TEXT.format(tokens), self.arms[0]).values())
            ideals = {
                number: ideal.under_load(1 / _rate(stock[number]), model, self._share(arm, None, self._size.small))
                for number in mine
            }
        return Throughput(
            requests=Spread.of(map(_rate, mine.values())),
            tokens=Spread.of(_rate(done) * self._size.tokens for done in mine.values()),
            first=Spread.of(map(_ttft, mine.values())),
            slow=Spread.of(_ttft(done, 0.99) for done in mine.values()),
            gain=Spread.of(gains.values()),
            sooner=Spread.of(_ttft(stock[number]) / _ttft(done) for number, done in mine.items()),
            ideal=_beside(gains, ideals)[0],
            reached=_beside(gains, ideals)[1],
        )

    def computed(self, measure: str, arm: Arm) -> list[int]:
        """Prompt tokens of each round that the prefix cache did not have."""
        return [done.replies[0].prompt - done.replies[0].cached for done in self.of(measure, arm).values()]

    def parts(self, arm: Arm) -> Parts:
        """Of a new picture."""
        done = self.of(NEW, arm).values()

        def median(part: Callable[[Done], float]) -> float:
            return statistics.median(map(part, done))

        return Parts(
            processing=median(lambda one: one.processing),
            encoder=median(lambda one: one.encoding),
            selection=median(lambda one: one.selection),
            language_model=median(_model),
            decode=median(lambda one: (one.engine - one.first_steps) / max(1, one.replies[0].answer - 1)),
        )

    def crowd(self, arm: Arm) -> Crowd | None:
        """None where this was not measured."""
        if not (done := self.of(CROWD, arm)):
            return None
        most, prompt = _any(done).running, _any(done).replies[0].prompt
        return Crowd(prompt, -(-prompt // BLOCK), most, most / _any(self.of(CROWD, self.arms[0])).running)

    def kv_is_exact(self, arm: Arm) -> bool:
        """Whether what is computed and cached for a new picture is what is retained, plus the text; no block more."""
        return all(
            done.kv_tokens == done.replies[0].prompt and done.kv_blocks == -(-done.kv_tokens // BLOCK)
            for done in self.of(NEW, arm).values()
        )

    def _selects(self, arm: Arm) -> bool:
        """Whether the arm drops rows behind the encoder, which the ideal is about."""
        return arm.fields.get("reduction_method") != "downscale"

    def _share(self, arm: Arm, number: int | None, side: int | None) -> float:
        """L(K) / L(N), of one round, or of all."""
        visual = ((side or self._size.side) // CELL) ** 2
        whole = self.of(TEXT.format(visual + self.text_tokens), self.arms[0])
        kept = self.of(TEXT.format(retained_tokens(visual, arm.keep_ratio) + self.text_tokens), self.arms[0])
        rounds = kept if number is None else [number]
        return statistics.median(kept[one].first_steps / whole[one].first_steps for one in rounds)


def _beside(found: dict[int, float], ideals: dict[int, float]) -> tuple[Spread | None, Spread | None]:
    if not ideals:
        return None, None
    return Spread.of(ideals.values()), Spread.of(found[number] / best for number, best in ideals.items())


def _any(done: dict[int, Done]) -> Done:
    return next(iter(done.values()))


def _rate(done: Done) -> float:
    """Requests per second."""
    return len(done.replies) / done.seconds


def _ttft(done: Done, quantile: float = 0.5) -> float:
    times = sorted(reply.ttft for reply in done.replies)
    if quantile == 0.5:
        return statistics.median(times)
    return times[min(len(times) - 1, int(quantile * len(times)))]


def _model(done: Done) -> float:
    """Engine time until the first token without encoder and selection: the language model, and the step around it."""
    return done.first_steps - done.encoding - done.selection
