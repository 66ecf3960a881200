"""What a soak makes of its readings."""

from __future__ import annotations

import random
from typing import Any

import pytest

from loadtest.memory import ALL
from loadtest.plots import png
from loadtest.soak import FEW_KERNELS, FEWEST_READINGS, KERNELS, _problems, _processes
from loadtest.soak_report import memory_over_time, report

MIB = 2**20


def result(worker_mib_per_hour: float, **changed: object) -> dict[str, Any]:
    """An hour of a front that stays as it is and of a worker."""
    noise = random.Random(3)
    readings = [
        (
            float(second),
            {
                "sppruner_server 1": round(500 * MIB + noise.gauss(0, MIB)),
                "VLLM::Worker 2": round((1000 + worker_mib_per_hour * second / 3600) * MIB + noise.gauss(0, MIB)),
            },
        )
        for second in range(0, 3600, 10)
    ]
    segments = {"/dev/shm/a": 4096}
    return {
        "device": "a machine",
        "model": "m",
        "version": "0.32",
        "seconds": 3600.0,
        "users": 2,
        "picture_requests": 5000,
        "statuses": {200: 4800, 400: 150, 499: 50},
        "kv_turns": 3.0,
        "warm_after_seconds": readings[60][0],
        "processes": _processes(readings[60:]),
        "segments_before": segments,
        "segments_after": segments,
        "segments_left": [],
        "environment": {KERNELS: FEW_KERNELS},
        "readings": readings,
        **changed,
    }


def test_a_process_that_grows_is_named_and_another_is_not():
    problems = _problems(result(50))
    assert problems == [f"memory grows: {ALL}, VLLM::Worker 2"]
    found = result(50)["processes"]["VLLM::Worker 2"]
    assert found["slope"] - found["margin"] < 50 * MIB / 3600 < found["slope"] + found["margin"]


def test_what_is_given_back_again_and_again_hides_no_slope_of_the_least():
    readings = [(float(at), {"worker 1": 1000 * MIB + at % 47 * 5 * MIB + at * 1000}) for at in range(0, 3600, 3)]
    found = _processes(readings)["worker 1"]
    assert found["least"] == 1000 * MIB
    assert found["margin"] > 2 * found["least_margin"]
    assert abs(found["least_slope"] - 1000) <= found["least_margin"]


def test_it_is_the_mean_that_is_judged():
    steps = {"least_slope": 0.0, "least_margin": 1.0}
    for slope, problems in ((2.0, ["memory grows: worker 1"]), (0.5, [])):
        assert _problems(result(0, processes={"worker 1": {"slope": slope, "margin": 1.0, **steps}})) == problems


def test_a_server_that_stays_as_it_is_has_no_problem():
    assert _problems(result(0)) == []
    assert _problems(result(-50)) == []


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"segments_after": {"/dev/shm/a": 4096, "/dev/shm/b": 1}}, "new in /dev/shm: /dev/shm/b"),
        ({"segments_left": ["/dev/shm/a"]}, "left in /dev/shm: /dev/shm/a"),
        ({"statuses": {200: 10, 500: 1}}, "unexpected statuses: {500: 1}"),
        ({"processes": {}}, "the server did not get warm, so nothing is known of its memory"),
    ],
)
def test_what_else_is_wrong_is_said(changed, problem):
    assert _problems(result(0, **changed)) == [problem]


def test_too_few_readings_of_a_warm_server_are_not_judged():
    readings = [(float(at), {"front 1": 1}) for at in range(FEWEST_READINGS - 1)]
    assert _processes(readings) == {}


def test_the_report_has_a_row_and_the_plot_a_panel_for_each_process():
    found = result(50)
    page = report({**found, "problems": _problems(found)})
    assert f"- the server ran with {KERNELS}={FEW_KERNELS}" in page.splitlines()
    assert [line.split(" | ")[0] for line in page.splitlines() if line.startswith("| ")] == [
        "| process",
        f"| {ALL}",
        "| sppruner_server 1",
        "| VLLM::Worker 2",
    ]
    figure = memory_over_time(found)
    assert [axes.get_title() for axes in figure.axes] == [
        f"{name}, MiB" for name in (ALL, "sppruner_server 1", "VLLM::Worker 2")
    ]
    assert png(figure).startswith(b"\x89PNG")
