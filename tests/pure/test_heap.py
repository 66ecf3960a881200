"""Memory that is held free goes back to the system."""

from __future__ import annotations

import os
import subprocess
import sys

FRAGMENTED = """
import ctypes, re, sys, time
from pathlib import Path
from sppruner_vllm.heap import trim_heap_every

def anonymous():
    status = Path("/proc/self/status").read_text()
    return sum(int(kib) for kib in re.findall(r"(?:RssAnon|VmSwap):\\s+(\\d+)", status)) // 1024

c = ctypes.CDLL(None)
c.malloc.restype, c.malloc.argtypes, c.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
c.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
blocks = []
for _ in range(2000):
    blocks.append(c.malloc(100_000))
    c.memset(blocks[-1], 1, 100_000)
    c.malloc(64)  # stays, and keeps its neighbours from the end of the heap
for block in blocks:
    c.free(block)
print(anonymous(), flush=True)
trim_heap_every(float(sys.argv[1]))
trim_heap_every(float(sys.argv[1]))
while float(sys.argv[1]) and anonymous() > 100:
    time.sleep(0.01)
print(anonymous(), flush=True)
"""


def held(seconds: float) -> list[int]:
    """MiB of a process whose heap has 190 MiB of gaps, before and after it gives memory back."""
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


SHARED = """
import ctypes, os, subprocess, sys, threading

from sppruner_vllm.heap import share_heaps

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
    share_heaps()
print(with_threads(), flush=True)
if sys.argv[1] != "child":
    subprocess.run([sys.executable, __file__, "child"], check=True)
"""


def heaps(folder, how, **environment):
    """Heaps of a process whose eight threads take memory at once, and of one that it starts."""
    script = folder / "shared.py"
    script.write_text(SHARED)
    unset = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
    command = [sys.executable, str(script), how]
    out = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=120, env={**unset, **environment}
    ).stdout
    return [int(line) for line in out.split()]


def test_threads_share_two_heaps_in_children_too(tmp_path):
    assert min(heaps(tmp_path, "leave")) > 2
    assert max(heaps(tmp_path, "share")) <= 2


def test_the_operators_number_of_heaps_stands(tmp_path):
    assert heaps(tmp_path, "share", MALLOC_ARENA_MAX="4") == [4, 4]
