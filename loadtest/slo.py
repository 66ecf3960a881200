"""The service level a run is held to: limits per request, and the share of requests that must keep them.

`ttft:500,tpot:50` in milliseconds, named as in `vllm bench serve --goodput`. The exit status is the verdict.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from .stream import StreamedAnswer

OK: Final = 0
TOO_MANY_ERRORS: Final = 3
SLO_MISSED: Final = 4

_NAMES: Final = {"ttft": "ttft", "tpot": "tpot", "e2el": "e2el", "e2e": "e2el"}


@dataclass(frozen=True, slots=True)
class Slo:
    """Limits in milliseconds; None is no limit. `share` of all requests, also failed ones, must keep all of them."""

    ttft: float | None = None
    tpot: float | None = None
    e2el: float | None = None
    share: float = 0.99

    @property
    def limits(self) -> dict[str, float]:
        """The limits that are set, by name."""
        named = {"ttft": self.ttft, "tpot": self.tpot, "e2el": self.e2el}
        return {name: limit for name, limit in named.items() if limit is not None}

    def kept_by(self, answer: StreamedAnswer) -> bool:
        """Whether a request was good; a failed one never is. For a single token tpot is 0, as in vLLM's bench."""
        if answer.error is not None or answer.ttft_s is None:
            return False
        seen = {"ttft": answer.ttft_s * 1000, "tpot": (answer.tpot_s or 0.0) * 1000, "e2el": answer.end_s * 1000}
        return keeps(seen, self.limits)

    def good_share(self, answers: Sequence[StreamedAnswer]) -> float:
        """The part of the requests that kept every limit; 0 of none."""
        return sum(map(self.kept_by, answers)) / len(answers) if answers else 0.0


def keeps(seen: Mapping[str, float | None], limits: Mapping[str, float]) -> bool:
    """Whether an answered request kept its limits.

    Args:
        seen: milliseconds by name; None, as `tpot` is of a single token, counts as 0. limits: as `Slo.limits`.
    """
    return all((seen[name] or 0.0) <= limit for name, limit in limits.items())


def parse_slo(text: str, share: float = 0.99) -> Slo:
    """Read `name:milliseconds,...`.

    Raises:
        ValueError: an unknown name, one given twice, a limit or a share out of range.
    """
    limits: dict[str, float] = {}
    for part in text.split(","):
        name, _, limit = part.strip().partition(":")
        if name not in _NAMES:
            raise ValueError(f"an SLO may limit {', '.join(sorted(_NAMES))}; got {name!r}")
        if _NAMES[name] in limits:
            raise ValueError(f"{name} stands twice in {text!r}")
        limits[_NAMES[name]] = _positive(limit)
    if not 0 < share <= 1:
        raise ValueError(f"the share of good requests must be in (0, 1], got {share}")
    return Slo(**limits, share=share)


def exit_status(answers: Sequence[StreamedAnswer], slo: Slo | None, error_bound: float) -> int:
    """The verdict on a run.

    Args:
        answers: all of them; none at all counts as an error.
        slo: None holds the run to nothing.
        error_bound: largest share of failed requests that is still accepted.
    """
    errors = sum(answer.error is not None for answer in answers)
    if not answers or errors == len(answers) or errors / len(answers) > error_bound:
        return TOO_MANY_ERRORS
    if slo is not None and slo.good_share(answers) < slo.share:
        return SLO_MISSED
    return OK


def _positive(text: str) -> float:
    value = float(text)
    if not (value > 0 and math.isfinite(value)):
        raise ValueError(f"a limit must be above 0 ms, got {text}")
    return value
