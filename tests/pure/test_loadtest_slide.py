"""What a spike's report says of a default that follows the load."""

from __future__ import annotations

from typing import Any

import pytest

from loadtest.slide_page import FIXED, SLIDING, Run, course, parts

SECONDS = 10


def run(side: str, ratio: float, ttft_s: float, failed: int = 0) -> Run:
    """One request each half second, a reading each second; in the spike (4 to 6 s) the ratio is `ratio`."""
    times = [place / 2 for place in range(2 * SECONDS)]
    requests = [
        {"at_s": at, "visual_original": 100, "visual_retained": 100 * ratio if 4 <= at < 6 else 100} for at in times
    ]
    readings = [
        {"at_s": float(at), "waiting": 0.0, "unanswered": 9.0, "default_ratio": ratio if 4 <= at < 6 else 1.0}
        for at in range(SECONDS)
    ]
    ours: dict[str, Any] = {
        "requests": requests,
        "slo": {"ttft": 500.0, "share": 0.99},
        "server": {"readings": readings},
    }
    result = {
        "ttfts": [ttft_s if 4 <= at < 6 else 0.1 for at in times],
        "latencies": [2.0] * len(times),
        "output_lens": [10] * len(times),
        "errors": ["no"] * failed + [""] * (len(times) - failed),
        "sppruner": ours,
    }
    return Run(0, side, result)


@pytest.fixture
def runs() -> list[Run]:
    return [run(FIXED, 1.0, 0.8), run(SLIDING, 0.25, 0.4, failed=2), run(SLIDING, 0.5, 0.6)]


def test_a_request_counts_in_the_part_in_which_it_was_sent(runs: list[Run]) -> None:
    table = parts(runs, users=8, seconds=SECONDS)
    rows = {row[0]: dict(zip(table.columns[1:8], row[1:8], strict=True)) for row in table.rows}
    assert list(rows)[2:4] == ["spike, 8 users, fixed", "spike, 8 users, sliding"]
    fixed, sliding = rows["spike, 8 users, fixed"], rows["spike, 8 users, sliding"]
    assert (fixed["sent/s"], fixed["ratio in force"], fixed["kept, %"], fixed["TTFT p50, ms"]) == (
        *("2.0", "1.000", "100.0", "800"),
    )
    assert (sliding["sent/s"], sliding["least"], sliding["kept, %"]) == ("2.0", "0.250", "37.5")
    assert rows["before, 2 users, sliding"]["failed"] == "2"
    assert rows["after, 2 users, sliding"]["kept, %"] == "100.0"


def test_goodput_counts_what_kept_the_slo_of_all_that_was_sent(runs: list[Run]) -> None:
    good = {row[0]: row[-2:] for row in parts(runs, users=8, seconds=SECONDS).rows}
    assert good["spike, 8 users, fixed"] == ("0.0", "0.00")
    assert good["spike, 8 users, sliding"] == ("50.0", "1.00")
    assert good["before, 2 users, sliding"] == ("87.5", "1.75")


def test_the_course_tells_ratio_and_queue_of_the_side_that_slides(runs: list[Run]) -> None:
    table = course(runs, seconds=SECONDS)
    assert [row[3] for row in table.rows].count("0.375") == 2
    assert {row[2] for row in table.rows if row[2] != "–"} == {"9.0"}  # noqa: RUF001 (a dash, meant)
