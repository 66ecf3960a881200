"""`python -m sppruner_server.shadow.report URL`: how far reduced answers agree with the whole picture, from /metrics.

Counts of the server since its start, over all its API processes; a dashboard shows them over time.
"""

from __future__ import annotations

import argparse
import math
import sys
import urllib.request
from collections.abc import Iterable, Mapping
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from sppruner_vllm.metrics.bands import RATIO_BANDS
from sppruner_vllm.metrics.families import SHADOW_ANSWERS, SHADOW_GAP, SHADOW_GIVEN_UP

_TWO_SIDED: Final = 1.96
"""Standard deviations that hold 95 %."""
_CLEAR: Final = 1.0
"""Nats from which on an answer parts for good, and not by a hair; a bucket of the histogram."""

Sample = tuple[str, Mapping[str, str], float]


def main(arguments: list[str] | None = None) -> int:
    """Print the report. Exit status 1 when the server cannot be read."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="of the server, without a path")
    parser.add_argument("--api-key", help="where /metrics asks for one")
    options = parser.parse_args(arguments)
    headers = {"Authorization": f"Bearer {options.api_key}"} if options.api_key else {}
    request = urllib.request.Request(f"{options.url.rstrip('/')}/metrics", headers=headers)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 (the operator's own address)
            text = answer.read().decode()
    except OSError as error:
        print(f"{options.url} cannot be read: {error}", file=sys.stderr)
        return 1
    print(report(text))
    return 0


def report(exposition: str) -> str:
    """The report as Markdown.

    Args:
        exposition: what /metrics says.
    """
    samples = [
        (sample.name, sample.labels, sample.value)
        for family in text_string_to_metric_families(exposition)
        for sample in family.samples
    ]
    lines = [
        "| retained ratio | asked again | same answer, % | parts by a nat or more, % | sampled |",
        "| --- | ---: | ---: | ---: | ---: |",
        *(_row(samples, band) for band in RATIO_BANDS[1:]),
    ]
    reasons = SHADOW_GIVEN_UP.labels[0].values
    given_up = {reason: _sum(samples, SHADOW_GIVEN_UP.scraped_name, reason=reason) for reason in reasons}
    told = ", ".join(f"{reason} {count:.0f}" for reason, count in given_up.items())
    return "\n".join([*lines, "", f"Not asked again, or not to the end: {told}."])


def _row(samples: Iterable[Sample], band: str) -> str:
    name = SHADOW_ANSWERS.scraped_name
    same, different, sampled = (
        _sum(samples, name, agreement=agreement, ratio_band=band) for agreement in ("same", "different", "sampled")
    )
    number = same + different
    gaps = {
        bound: _sum(samples, f"{SHADOW_GAP.name}_bucket", decoding="greedy", ratio_band=band, le=bound)
        for bound in (str(_CLEAR), "+Inf")
    }
    clear = gaps["+Inf"] - gaps[str(_CLEAR)]
    share, low, high = interval(same, number)
    agreed = f"{100 * share:.1f} [{100 * low:.1f}, {100 * high:.1f}]" if number else "—"
    parted = f"{100 * clear / gaps['+Inf']:.1f}" if gaps["+Inf"] else "—"
    return f"| {band} | {number:.0f} | {agreed} | {parted} | {sampled:.0f} |"


def interval(part: float, number: float) -> tuple[float, float, float]:
    """A share and its 95 % interval (Wilson); all 0 for none."""
    if number == 0:
        return 0.0, 0.0, 0.0
    share, spread = part / number, _TWO_SIDED**2 / number
    middle = (share + spread / 2) / (1 + spread)
    half = _TWO_SIDED * math.sqrt(share * (1 - share) / number + spread / (4 * number)) / (1 + spread)
    return share, max(0.0, middle - half), min(1.0, middle + half)


def _sum(samples: Iterable[Sample], name: str, **labels: str) -> float:
    return sum(value for one, found, value in samples if one == name and labels.items() <= found.items())


if __name__ == "__main__":
    sys.exit(main())
