"""Whole runs of Locust in a process of its own, and the sweep, against a server that can misbehave."""

from __future__ import annotations

import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from loadtest.against import main as against
from loadtest.cells import Cell, Measured, grid, largest_users
from loadtest.process import LOCUSTFILE, LoadFailed, arguments, run_locust
from loadtest.slide import main as slide
from loadtest.slo import OK, SLO_MISSED, TOO_MANY_ERRORS
from loadtest.sweep import main as sweep
from loadtest_server import chat_server

SMALL = {"image_size": "32x32", "image_pool": 4, "max_tokens": 4}


def locust(url: str, out: Path, **options: object) -> tuple[int, dict]:
    """Exit status and result of one run."""
    words = arguments({**SMALL, "out": out, **options})
    command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless", "--only-summary", "--host", url]
    status = subprocess.run([*command, *words], check=False, capture_output=True).returncode
    return status, json.loads((out / "result.json").read_text())


def test_users_play_every_session_once_and_the_slo_sets_the_exit_status(tmp_path):
    with chat_server(tokens=3) as server:
        status, result = locust(
            server.url, tmp_path, users=3, sessions=12, slo="ttft:0.001", warmup=2, keep_ratios="1,0.25", length=2,
            scenarios="single,multi-turn,many-questions,several-images,text",
        )  # fmt: skip
    ours = result["sppruner"]
    assert status == ours["exit_status"] == SLO_MISSED
    assert (result["failed"], ours["good_share"]) == (0, 0.0)
    assert {request["session"] for request in ours["requests"]} == set(range(12))
    assert result["total_output_tokens"] == 3 * result["completed"]
    assert len(server.bodies) > result["completed"]  # the warm-up is not counted
    reduced = [request for request in ours["requests"] if request["keep_ratio"] == 0.25 and request["visual_original"]]
    assert reduced
    assert all(request["visual_retained"] == request["visual_original"] / 4 for request in reduced)
    assert ours["server"]["kv_cache_usage"] == {"mean": 0.25, "max": 0.25}
    page = Images()
    page.feed((tmp_path / "report.html").read_text())
    assert page.sources
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert "SLO missed" in (tmp_path / "report.md").read_text()


class Images(HTMLParser):
    """Where a page's images come from."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        if tag == "img":
            self.sources.append(dict(attrs)["src"])


def test_an_open_loop_does_not_wait_for_answers(tmp_path):
    with chat_server(together=8) as server:  # nobody is answered before eight have asked
        status, result = locust(server.url, tmp_path, load_shape="poisson", rate=50, sessions=8, warmup=0)
    assert status == OK
    assert (result["completed"], result["max_concurrency"], result["request_rate"]) == (8, None, 50.0)
    assert result["sppruner"]["pace"]["arrivals"] == 8


@pytest.mark.parametrize(("fault", "error"), [("refuse", "HTTP 503: no room"), ("cut", "")])
def test_failed_requests_set_the_exit_status_and_are_told(tmp_path, fault, error):
    with chat_server(fault=fault) as server:
        status, result = locust(server.url, tmp_path, sessions=3, max_error_ratio=0.5, warmup=0)
    assert status == TOO_MANY_ERRORS
    assert (result["completed"], result["failed"]) == (0, 3)
    assert all(told and told.startswith(error) for told in result["errors"])


def test_a_run_over_time_ends_without_a_session_cut_off(tmp_path):
    with chat_server(tokens=2, pause=0.2) as server:
        status, result = locust(server.url, tmp_path, users=2, run_time="3s", load_shape="step", warmup=0)
    assert (status, result["failed"]) == (OK, 0)
    assert 0 < result["completed"] == len(server.bodies)


def test_no_server_is_an_error_and_leaves_no_result_to_trust(tmp_path):
    with pytest.raises(LoadFailed, match="status 3"):
        run_locust("http://127.0.0.1:9", tmp_path, {**SMALL, "sessions": 1})


def test_a_sweep_measures_every_cell_reports_and_goes_on_where_it_was(tmp_path):
    words = ["--ratios", "1,0.25", "--users", "2", "--seconds", "1", "--image-size", "32x32", "--image-pool", "4"]
    with chat_server() as server:
        assert sweep(["--url", server.url, "--out", str(tmp_path), *words]) == 0
        asked = len(server.bodies)
        assert sweep(["--url", server.url, "--out", str(tmp_path), *words]) == 0
        assert len(server.bodies) == asked
    assert {body.get("keep_ratio") for body in server.bodies} == {1.0, 0.25}
    report = (tmp_path / "report.md").read_text()
    assert "| 0.25, 2 users |" in report
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")


def test_a_default_that_slides_is_told_beside_a_fixed_one_in_every_part_of_a_spike(tmp_path):
    words = ["--users", "4", "--seconds", "3", "--rounds", "2", "--image-size", "32x32", "--image-pool", "4"]
    words += ["--poll", "0.1", "--think-time", "0.05", "--out", str(tmp_path)]
    with chat_server() as fixed, chat_server() as sliding:
        assert slide(["--url", sliding.url, "--fixed-url", fixed.url, *words]) == 0
    for server in (fixed, sliding):
        assert server.bodies
        assert all("keep_ratio" not in body for body in server.bodies)
    report = (tmp_path / "report.md").read_text()
    rows = [line.split(" | ") for line in report.splitlines() if line.startswith("| spike, 4 users, ")]
    assert [row[0].removeprefix("| spike, 4 users, ") for row in rows] == ["fixed", "sliding"]
    assert (tmp_path / "slide.png").read_bytes().startswith(b"\x89PNG")
    both = [json.loads((tmp_path / f"{side}-1" / "result.json").read_text()) for side in ("fixed", "sliding")]
    first = [{one["session"] for one in result["sppruner"]["requests"]} for result in both]
    assert 0 in first[0] & first[1]
    readings = [reading for result in both for reading in result["sppruner"]["server"]["readings"]]
    assert {(reading["default_ratio"], reading["unanswered"]) for reading in readings} == {(0.75, 5)}


def test_the_largest_concurrency_is_below_the_first_that_misses():
    shares = {1: 1.0, 2: 0.99, 4: 0.5, 8: 1.0}
    measured = [Measured(Cell(0.5, users), {"sppruner": {"good_share": share}}) for users, share in shares.items()]
    assert largest_users(measured, 0.5, 0.99) == 2
    assert largest_users(measured, 0.5, 0.4) == 8
    assert largest_users(measured[2:3], 0.5, 0.99) is None
    assert largest_users(measured, 1.0, 0.1) is None


def test_a_sweep_tries_all_ratios_at_one_concurrency_before_the_next():
    assert list(grid([1.0, 0.5], [1, 4])) == [Cell(1.0, 1), Cell(0.5, 1), Cell(1.0, 4), Cell(0.5, 4)]


def test_stock_and_ours_get_the_same_arrivals_and_no_picture_twice(tmp_path):
    words = [
        "--ratios",
        "0.5",
        "--users",
        "2",
        "--loads",
        "0.5",
        "--most-users",
        "1",
        "--rounds",
        "1",
        "--requests",
        "4",
    ]
    with chat_server() as stock, chat_server() as ours:
        urls = ["--stock-url", stock.url, "--url", ours.url]
        assert against([*urls, "--image-size", "32x32", "--max-tokens", "4", "--out", str(tmp_path), *words]) == 0
    assert {body.get("keep_ratio") for body in stock.bodies} == {None}
    assert {body.get("keep_ratio") for body in ours.bodies} == {0.5}
    cells = {folder.name: json.loads((folder / "result.json").read_text()) for folder in (tmp_path / "cells").iterdir()}
    assert len(cells) == 4
    about = [result["sppruner"]["options"] for result in cells.values()]
    assert len({one["seed"] for one in about}) == 4
    pair = [cells[f"open-at-50-%-{side}-1"]["sppruner"]["options"] for side in ("stock", "ratio-0.5")]
    assert pair[0]["arrival_seed"] == pair[1]["arrival_seed"]
    assert pair[0]["rate"] == pair[1]["rate"] > 0
    report = (tmp_path / "report.md").read_text()
    assert "| 2 users | 0.5 | " in report
    assert "| open at 50 % | 0.5 | " in report
