"""PromQL expressions over our families and vLLM's, each restricted to what the dashboard's variables choose.

Every expression of the dashboards is made here, so that no panel forgets a selector, a rate or Grafana's interval.
"""

from __future__ import annotations

from typing import Final

INTERVAL: Final = "$__rate_interval"
"""Grafana's window for rates: never shorter than four scrapes."""

RANGE: Final = "$__range"
"""The whole time range of the dashboard, for totals."""

_TARGETS: Final = 'job=~"$job",instance=~"$instance"'
_MODEL: Final = 'model_name=~"$model_name"'


def sample(name: str, where: str = "") -> str:
    """A selector of one sample name; vLLM's are also restricted to the model.

    Args:
        name: as scraped, with `_total`, `_bucket`, `_sum` or `_count` where it has one.
        where: further label matchers.
    """
    parts = [_TARGETS, _MODEL] if name.startswith("vllm:") else [_TARGETS]
    return f"{name}{{{','.join([*parts, where] if where else parts)}}}"


def gauge(name: str, *by: str, how: str = "sum") -> str:
    """A gauge, aggregated over all labels but `by`."""
    return f"{how}{_by(by)} ({sample(name)})"


def rate(name: str, *by: str, where: str = "") -> str:
    """Increase per second of a counter, summed over all labels but `by`."""
    return f"sum{_by(by)} (rate({sample(name, where)}[{INTERVAL}]))"


def rate_of_seen(name: str, by: str) -> str:
    """`rate` by one label, without the values that never occurred in the time range: a long list stays readable."""
    return f"{rate(name, by)} and sum by ({by}) (increase({sample(name)}[{RANGE}])) > 0"


def total(name: str, where: str = "") -> str:
    """Increase of a counter over the dashboard's whole time range."""
    return f"sum (increase({sample(name, where)}[{RANGE}]))"


def buckets(histogram: str) -> str:
    """Observations of a histogram in each interval, by bucket: what a heat map draws."""
    return f"sum by (le) (increase({sample(f'{histogram}_bucket')}[{INTERVAL}]))"


def quantile(share: float, histogram: str, *by: str) -> str:
    """The quantile of a histogram; NaN where nothing was observed."""
    return f"histogram_quantile({share:g}, {rate(f'{histogram}_bucket', 'le', *by)})"


def mean(histogram: str) -> str:
    """The mean of a histogram's observations."""
    return ratio(rate(f"{histogram}_sum"), rate(f"{histogram}_count"))


def ratio(part: str, whole: str) -> str:
    """Part over whole; no sample, rather than NaN, where the whole is zero."""
    return f"{part} / ({whole} > 0)"


def _by(labels: tuple[str, ...]) -> str:
    return f" by ({', '.join(labels)})" if labels else ""
