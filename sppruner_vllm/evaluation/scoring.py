"""Metrics: how right an answer is, from 0 to 1.

Pure functions of texts. Of several right answers the best match counts.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

MetricName = Literal["exact", "contains", "choice", "anls", "number"]
METRICS: Final[tuple[MetricName, ...]] = get_args(MetricName)

ANLS_THRESHOLD: Final = 0.5

_NUMBER: Final = re.compile(r"(?:(?<!\w)[-+])?(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)")
_SPELT: Final = {
    word: number
    for number, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
    )
}
_LEADING_LETTER: Final = re.compile(r"^\W*(?:([a-zA-Z])(?=\s*(?:[).:,\]*]|$))|([B-HJ-Z])(?=\s))")
"""A letter with a mark behind it or alone, or a capital that is no English word."""
_ANNOUNCED_LETTER: Final = re.compile(
    r"\b(?:answer|option|choice)(?:\s+is)?\s*:?\s*[(\[*]*([a-z])\b(?!\s+[a-z])", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric and, for `number`, how far off an answer may be.

    tolerance: absolute distance, or a share of the right number when `relative`.
    """

    name: MetricName = "exact"
    tolerance: float = 0.0
    relative: bool = False


EXACT: Final = Metric()


def score(metric: Metric, answer: str, right: Sequence[str]) -> float:
    """How right `answer` is, in [0, 1].

    Args:
        metric: how to judge.
        answer: what the model said.
        right: the right answers, at least one.
    """
    return max(_JUDGES[metric.name](metric, answer, one) for one in right)


def parse_tolerance(value: object) -> tuple[float, bool]:
    """(tolerance, relative) of a dataset's field: a number is a distance, "5%" a share of the right number.

    Raises:
        ValueError: neither, or below zero.
    """
    relative = isinstance(value, str) and value.strip().endswith("%")
    text = value.strip().removesuffix("%") if isinstance(value, str) else value
    if isinstance(text, bool) or not isinstance(text, str | int | float):
        raise ValueError('must be a number, or a share as in "5%"')
    try:
        number = float(text)
    except ValueError as error:
        raise ValueError(f'must be a number, or a share as in "5%", got {value!r}') from error
    if not 0 <= number < math.inf:
        raise ValueError(f"must not be negative or infinite, got {value!r}")
    return (number / 100 if relative else number), relative


def normalised(text: str) -> str:
    """Lower case, without punctuation, one blank between words; what makes a number, as in -3.5, stays.

    A text of punctuation alone stays as it is.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    folded = re.sub(r"(?<=\d),(?=\d{3}\b)", "", folded)
    kept = re.sub(r"(?<!\d)\.|\.(?!\d)|(?<=\w)-|-(?!\d)|[^\w\s.-]|_", " ", folded)
    return " ".join(kept.split()) or folded.strip()


def exact(_: Metric, answer: str, right: str) -> float:
    """1 when both read the same once normalised."""
    return float(normalised(answer) == normalised(right))


def contains(_: Metric, answer: str, right: str) -> float:
    """1 when the words of the right answer stand together in the answer; "cat" is not in "category"."""
    return float(f" {normalised(right)} " in f" {normalised(answer)} ")


def choice(_: Metric, answer: str, right: str) -> float:
    """1 when the answer picks the right option, by its letter ("B", "(b) red", "The answer is B.") or by its text."""
    if len(right.strip()) > 1:
        return exact(_, answer, right)
    found = _LEADING_LETTER.search(answer) or _ANNOUNCED_LETTER.search(answer)
    letter = next(filter(None, found.groups())) if found else ""
    return float(letter.casefold() == right.strip().casefold())


def anls(_: Metric, answer: str, right: str) -> float:
    """1 - edit distance / longer length, 0 below the threshold of 0.5 (ANLS, Biten et al. 2019)."""
    said, wanted = (" ".join(text.casefold().split()) for text in (answer, right))
    similarity = 1 - edit_distance(said, wanted) / max(len(said), len(wanted), 1)
    return similarity if similarity >= ANLS_THRESHOLD else 0.0


def number(metric: Metric, answer: str, right: str) -> float:
    """1 when the first number of the answer, in digits or spelt up to twelve, is within the tolerance."""
    said, wanted = first_number(answer), float(right)
    if said is None:
        return 0.0
    allowed = metric.tolerance * abs(wanted) if metric.relative else metric.tolerance
    return float(abs(said - wanted) <= allowed + 1e-9 * max(1.0, abs(wanted)))


def first_number(text: str) -> float | None:
    """The first number in a text, None without one."""
    found = _NUMBER.search(text)
    spelt = next((word for word in re.finditer(r"[a-z]+", text.casefold()) if word[0] in _SPELT), None)
    if spelt is not None and (found is None or spelt.start() < found.start()):
        return float(_SPELT[spelt[0]])
    return None if found is None else float(found[0].replace(",", ""))


def edit_distance(one: str, other: str) -> int:
    """Levenshtein distance: fewest insertions, deletions and replacements of a character."""
    row = list(range(len(other) + 1))
    for i, left in enumerate(one, 1):
        diagonal, row[0] = row[0], i
        for j, right in enumerate(other, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (left != right))
    return row[-1]


_JUDGES: Final[dict[MetricName, Callable[[Metric, str, str], float]]] = {
    "exact": exact,
    "contains": contains,
    "choice": choice,
    "anls": anls,
    "number": number,
}
