"""Engines leave signals to their front: a real child process with a handler of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from multiprocessing.connection import Connection

import pytest

from sppruner_vllm import front
from sppruner_vllm.front import ENGINE_SECONDS, leave_signals_to_front, seconds_for_engines, stopping_engines

SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]


def engine(told: Connection) -> None:
    """As vLLM's engine: handles signals, then loads plugins, then works; it says what it was signalled."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: told.send(number))
    leave_signals_to_front()
    told.send("ready")
    while told.recv() == "still there?":
        told.send("yes")


@pytest.fixture
def child():
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=engine, args=(theirs,))
    process.start()
    theirs.close()
    assert ours.recv() == "ready"
    yield process.pid, ours
    ours.send("end")
    process.join(90)
    assert process.exitcode == 0


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_from_elsewhere_changes_nothing(child, number):
    pid, pipe = child
    os.kill(pid, number)
    pipe.send("still there?")
    assert pipe.recv() == "yes"


@pytest.mark.parametrize("number", SIGNALS[:2])
def test_a_signal_of_a_front_that_stops_its_engines_is_heard(child, number):
    pid, pipe = child
    with stopping_engines():
        os.kill(pid, number)
        assert pipe.recv() == number
    os.kill(pid, number)
    pipe.send("still there?")
    assert pipe.recv() == "yes", "a front that has said so once has not said so for good"


ORPHAN = """
import multiprocessing, os, signal, sys, time

def engine(told):
    from sppruner_vllm.front import leave_signals_to_front

    signal.signal(signal.SIGTERM, lambda *_: os.write(told, b"stopped") and os._exit(0))
    leave_signals_to_front()
    os.write(told, b"ready ")
    while True:
        signal.pause()

if __name__ == "__main__":
    multiprocessing.get_context("fork").Process(target=engine, args=(1,)).start()
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_an_engine_whose_front_was_killed_ends():
    killed = subprocess.Popen([sys.executable, "-c", ORPHAN], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with killed:
        assert killed.stdout is not None
        assert killed.stdout.read(6) == b"ready "
        assert killed.stdin is not None
        killed.stdin.write(b"!")
        killed.stdin.flush()
        assert killed.stdout.read() == b"stopped"


def test_engines_without_work_are_not_given_the_time_of_those_with_requests(monkeypatch):
    monkeypatch.setattr(front, "IDLE", threading.Event())
    assert [seconds_for_engines(timeout) for timeout in (40.0, 0, None)] == [40.0, 0, None]
    front.IDLE.set()
    assert [seconds_for_engines(timeout) for timeout in (40.0, 1.0, 0, None)] == [ENGINE_SECONDS, 1.0, 0, None]


def test_a_process_that_vllm_did_not_start_keeps_its_handlers():
    before = [signal.getsignal(number) for number in SIGNALS]
    leave_signals_to_front()
    assert [signal.getsignal(number) for number in SIGNALS] == before


def worker(told: Connection) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    leave_signals_to_front()
    told.send("ready")
    while True:
        signal.pause()


def failing_engine(told: Connection) -> None:
    """As an engine that cannot start after its workers did: multiprocessing ends them when it returns."""
    signal.signal(signal.SIGTERM, lambda *_: None)
    leave_signals_to_front()
    multiprocessing.get_context("spawn").Process(target=worker, args=(told,), daemon=True).start()
    told.recv()  # comes once the worker is ready


def test_an_engine_that_ends_of_itself_is_not_kept_by_its_workers():
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=failing_engine, args=(theirs,))
    process.start()
    assert ours.recv() == "ready"
    ours.send("end")
    process.join(90)
    ended = process.exitcode
    process.kill()
    assert ended == 0
