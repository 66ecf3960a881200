"""Memory that is held free goes back to the system."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

from sppruner_vllm.heap import RENEWAL, SETTLING, Growth

FRAGMENTED = """
import ctypes, re, sys, time
from pathlib import Path
from sppruner_vllm.heap import SETTLING, tend_heap

def anonymous():
    status = Path("/proc/self/status").read_text()
    return sum(int(kib) for kib in re.findall(r"(?:RssAnon|VmSwap):\\s+(\\d+)", status)) // 1024

c = ctypes.CDLL(None)
c.malloc.restype, c.malloc.argtypes, c.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
c.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
seconds = float(sys.argv[1])
tend_heap(seconds)
tend_heap(seconds)
time.sleep(50 * SETTLING * seconds)
blocks = []
for _ in range(2000):
    blocks.append(c.malloc(100_000))
    c.memset(blocks[-1], 1, 100_000)
    c.malloc(64)  # stays, and keeps its neighbours from the end of the heap
print(anonymous(), flush=True)
for block in blocks:
    c.free(block)
while seconds and anonymous() > 100:
    time.sleep(0.01)
print(anonymous(), flush=True)
"""


def held(seconds: float) -> list[int]:
    """MiB of a process that comes to hold 190 MiB in gaps of its heap, before and after it gives memory back."""
    command = [sys.executable, "-c", FRAGMENTED, str(seconds)]
    out = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout
    return [int(line) for line in out.split()]


def test_gaps_in_the_heap_are_given_back():
    before, after = held(0.01)
    assert before > 190
    assert after <= 100


def test_with_0_they_stay():
    before, after = held(0)
    assert before > 190
    assert after > 190


MIB = 2**20


def given_back(readings: Sequence[int]) -> list[int]:
    """At which looks a process that holds so many MiB gives memory back."""
    growth = Growth()
    return [number for number, mib in enumerate(readings) if growth.beyond(mib * MIB)]


def test_what_each_request_takes_is_left_to_the_next():
    assert not given_back([300, 400] * SETTLING + [400, 300, 463] * 30)


def test_a_process_that_grew_gives_back_and_keeps_what_it_takes_again():
    start = [400] * SETTLING
    assert given_back([*start, 464]) == []
    assert given_back([*start, 465]) == [SETTLING]
    assert given_back([*start, 465, *[460] * 100]) == [SETTLING], "it needs 460, then"
    assert given_back([*start, *[465, *[400] * SETTLING] * 3]) == [SETTLING * (n + 1) + n for n in range(3)], "gaps"


def test_from_time_to_time_it_finds_out_again_what_it_needs():
    once = [*[1400] * SETTLING, *[400] * (RENEWAL - SETTLING)]
    assert given_back([*once, *[400] * SETTLING, 465]) == [RENEWAL - 1, RENEWAL + SETTLING]


def test_a_large_process_grows_by_an_eighth_before_it_gives_back():
    start = [8000] * SETTLING
    assert given_back([*start, 9000]) == []
    assert given_back([*start, 9001]) == [SETTLING]


SHARED = """
import ctypes, os, subprocess, sys, threading

from sppruner_vllm.heap import keep_heaps

def heaps():
    c = ctypes.CDLL(None)
    c.tmpfile.restype = ctypes.c_void_p
    file = c.tmpfile()
    c.malloc_info(0, ctypes.c_void_p(file))
    c.rewind(ctypes.c_void_p(file))
    text = ctypes.create_string_buffer(1 << 20)
    c.fread(text, 1, len(text), ctypes.c_void_p(file))
    return text.value.count(b"<heap nr=")

def with_threads():
    all_there = threading.Barrier(8)
    def take():
        ctypes.CDLL(None).malloc(1000)
        all_there.wait()
    threads = [threading.Thread(target=take) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    return heaps()

if sys.argv[1] == "share":
    keep_heaps()
print(with_threads(), flush=True)
if sys.argv[1] != "child":
    subprocess.run([sys.executable, __file__, "child"], check=True)
"""


def of_two(folder, program, how, **environment):
    """What a program prints of itself and of a process that it starts; of glibc's limits only these are given."""
    script = folder / "program.py"
    script.write_text(program)
    unset = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, str(script), how]
    out = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=120, env={**unset, **environment}
    ).stdout
    return [int(line) for line in out.split()]


def heaps(folder, how, **environment):
    """Heaps of a process whose eight threads take memory at once, and of one that it starts."""
    return of_two(folder, SHARED, how, **environment)


def test_threads_share_two_heaps_in_children_too(tmp_path):
    assert min(heaps(tmp_path, "leave")) > 2
    assert max(heaps(tmp_path, "share")) <= 2


def test_the_operators_number_of_heaps_stands(tmp_path):
    assert heaps(tmp_path, "share", MALLOC_ARENA_MAX="4") == [4, 4]


AGAIN = """
import ctypes, resource, subprocess, sys

from sppruner_vllm.heap import keep_heaps

if sys.argv[1] == "keep":
    keep_heaps()
c = ctypes.CDLL(None)
c.malloc.restype, c.malloc.argtypes, c.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
c.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]

def request():
    blocks = [c.malloc(20 << 20) for _ in range(3)]
    for block in blocks:
        c.memset(block, 1, 20 << 20)
    for block in blocks:
        c.free(block)

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

[request() for _ in range(3)]
before = faults()
[request() for _ in range(10)]
print(faults() - before, flush=True)
if sys.argv[1] != "child":
    subprocess.run([sys.executable, __file__, "child"], check=True)
"""


def faults_again(folder, how, **environment):
    """Page faults of ten requests that each take 60 MiB, of a process and of one that it starts."""
    return of_two(folder, AGAIN, how, **environment)


def test_memory_of_one_request_serves_the_next_in_children_too(tmp_path):
    pages = 10 * (60 << 20) // os.sysconf("SC_PAGESIZE")
    assert min(faults_again(tmp_path, "leave")) > pages // 4
    assert max(faults_again(tmp_path, "keep")) < pages // 100


def test_the_operators_limits_stand(tmp_path):
    own = {"MALLOC_MMAP_THRESHOLD_": str(2**20)}
    assert min(faults_again(tmp_path, "keep", **own)) > 100, "each block goes back, as was asked"
