"""The server of a sweep: started, waited for, and gone afterwards."""

from __future__ import annotations

import sys
from pathlib import Path

import httpx
import pytest

from loadtest import target
from loadtest_server import chat_server

STAND_IN = (sys.executable, str(Path(__file__).with_name("loadtest_server.py")))


def test_a_server_of_our_own_answers_inside_the_block_and_is_gone_after_it(tmp_path, monkeypatch):
    monkeypatch.setattr(target, "_SERVE", STAND_IN)
    with target.serving(None, None, [], tmp_path / "server.log") as server:
        assert (server.model, server.root) == ("m", "m")
        assert httpx.get(f"{server.url}/v1/models").is_success
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.url)


def test_a_server_that_does_not_start_is_told_with_its_log(tmp_path, monkeypatch):
    monkeypatch.setattr(target, "_SERVE", (sys.executable, "-c", "raise SystemExit(7)"))
    log = tmp_path / "server.log"
    with pytest.raises(target.NoServer, match=r"status 7.*server\.log"), target.serving(None, None, [], log):
        pytest.fail("it never started")


def test_a_server_that_runs_is_used_and_left_alone(tmp_path):
    with chat_server() as server:
        with target.serving(f"{server.url}/", None, [], tmp_path / "server.log") as found:
            assert found.url == server.url
        assert httpx.get(f"{server.url}/v1/models").is_success
    with pytest.raises(target.NoServer), target.serving(server.url, None, [], tmp_path / "server.log"):
        pytest.fail("nobody is there")


def test_make_serve_is_what_starts_it():
    makefile = (Path(__file__).parents[2] / "Makefile").read_text()
    assert "/python " + " ".join(target._SERVE[1:]) + " --port" in makefile
