"""Whether memory grows: straight lines with noise that is known, and this very process."""

from __future__ import annotations

import mmap
import os
import random
import subprocess
import sys

import pytest

from loadtest.memory import ALL, BLOCKS, anonymous, by_process, segments, slope, steady, tree

SECONDS = list(range(1000))


def readings(per_second: float, seed: int = 1) -> list[float]:
    """A level that rises or falls under noise that is larger than the change of many readings."""
    noise = random.Random(seed)
    return [1e9 + per_second * second + noise.gauss(0, 1e4) for second in SECONDS]


@pytest.mark.parametrize(("per_second", "grows"), [(100.0, True), (0.0, False), (-100.0, False)])
def test_growth_is_told_from_noise(per_second, grows):
    found = slope(SECONDS, readings(per_second))
    assert found.grows == grows
    assert abs(found.value - per_second) < found.margin < 20


def test_the_interval_holds_the_truth_in_19_of_20_runs():
    found = [slope(SECONDS, readings(0.0, seed)) for seed in range(400)]
    held = sum(abs(one.value) <= one.margin for one in found) / len(found)
    assert 0.92 < held < 0.98


def test_a_level_that_wanders_is_no_growth():
    """As a heap does whose gaps fill and empty: neighbouring readings are alike for minutes."""
    found = []
    for seed in range(200):
        noise, level, sizes = random.Random(seed), 0.0, []
        for _ in SECONDS:
            level = 0.98 * level + noise.gauss(0, 1e6)
            sizes.append(level)
        found.append(slope(SECONDS, sizes).grows)
    assert sum(found) / len(found) < 0.08


def test_too_few_readings_are_no_figure():
    with pytest.raises(ValueError, match="too few"):
        slope(SECONDS[: 2 * BLOCKS - 1], readings(0.0)[: 2 * BLOCKS - 1])


def test_memory_is_that_of_a_process_and_its_children():
    program = "import sys; held = bytearray(b'x') * 2**26; print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        assert child.pid in tree(os.getpid())
        assert anonymous(child.pid) >= 2**26
        child.communicate()
    assert anonymous(child.pid) == 0


def test_a_process_is_known_by_its_title_and_counts_while_it_stays():
    readings = [
        (0.0, {"front 1": 10, "short 2": 5}),
        (1.0, {"front 1": 11}),
    ]
    assert steady(readings) == {ALL: [15, 11], "front 1": [10, 11]}
    with subprocess.Popen([sys.executable, "-m", "http.server", "0"], stderr=subprocess.DEVNULL) as child:
        try:
            assert by_process(child.pid).keys() == {f"http.server {child.pid}"}
        finally:
            child.kill()


def test_a_segment_is_found_while_it_is_held(tmp_path):
    name = f"/dev/shm/sppruner-test-{os.getpid()}"
    with open(name, "w+b") as file:
        try:
            file.truncate(4096)
            with mmap.mmap(file.fileno(), 4096):
                assert segments([os.getpid()])[name] == 4096
            assert name not in segments([os.getpid()])
        finally:
            os.unlink(name)
