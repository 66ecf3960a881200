"""The drawing tool shows values, buckets and empty panels as Grafana would."""

from __future__ import annotations

import math

import numpy as np
import pytest
from panels_data import Series, Window, cells
from panels_units import written


@pytest.mark.parametrize(
    ("value", "unit", "decimals", "text"),
    [
        (0.4783, "percentunit", None, "47.8%"),
        (0.0071, "percentunit", 2, "0.71%"),
        (0, "s", None, "0 s"),
        (0.0123, "s", None, "12.3 ms"),
        (0.00005, "s", None, "50 µs"),
        (90, "s", None, "1.5 min"),
        (1234, "si:tok/s", None, "1.23 ktok/s"),
        (999, "si:tok/s", None, "999 tok/s"),
        (5_700_000, "short", None, "5.7 M"),
        (69, "short", 0, "69"),
        (0.5, "reqps", None, "0.5 req/s"),
        (math.inf, "short", None, "inf"),
    ],
)
def test_a_value_is_written_with_its_unit(value, unit, decimals, text):
    assert written(value, unit, decimals) == text


def test_buckets_are_told_apart_whatever_their_order():
    times = np.array([0.0, 1.0])
    cumulative = {"+Inf": [7, 9], "0.5": [2, 4], "1.0": [7, 7]}
    series = [Series("", {"le": bound}, times, np.array(counts, float)) for bound, counts in cumulative.items()]
    bounds, counts = cells(series)
    assert bounds == [0.5, 1.0]
    assert counts.tolist() == [[2, 4], [5, 3]]


def test_a_gap_and_a_zero_over_zero_are_no_last_value():
    times = np.arange(3.0)
    assert Series("", {}, times, np.array([1.0, math.nan, math.nan])).last == 1
    assert Series("", {}, times, np.full(3, math.nan)).last is None


@pytest.mark.parametrize(
    ("seconds", "scrape", "step", "interval"), [(900, 15, 15, "60s"), (7200, 15, 30, "60s"), (36000, 15, 150, "165s")]
)
def test_the_rate_interval_is_grafanas(seconds, scrape, step, interval):
    window = Window("http://127.0.0.1", 0, seconds, scrape)
    assert window.step == step
    assert window.filled("x[$__rate_interval]") == f"x[{interval}]"


def test_a_range_is_whole_seconds_as_promql_takes_no_fractions():
    assert Window("http://127.0.0.1", 0.25, 97.9, 2).filled("x[$__range]") == "x[98s]"
