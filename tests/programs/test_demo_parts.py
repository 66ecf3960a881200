"""The demo's picture, its child process, and its reading of vLLM's metrics."""

from __future__ import annotations

import base64
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from sppruner_vllm.demo.measure import prefilled
from sppruner_vllm.demo.serve import example_request
from sppruner_vllm.demo.server_process import ServerFailed, free_port, running_server, server_url
from sppruner_vllm.demo_model.picture import PICTURE, picture_url, picture_variant_url

FAKE_SERVER = """
import http.server, pathlib, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path(sys.argv[2]).write_text(str(child.pid))
class Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Healthy).serve_forever()
"""

LEAVING_SERVER = """
import http.server, os, pathlib, signal, sys
from multiprocessing import shared_memory
segment = shared_memory.SharedMemory(create=True, size=4096)
pathlib.Path(sys.argv[2]).write_text(segment.name)
if os.fork() == 0:
    signal.pause()  # a worker that lives longer, and until then the tracker waits for it
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
class Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Healthy).serve_forever()
"""

# A suite that a shell runs in the background inherits a SIGINT that is ignored; a person's terminal does not.
HOLD_UNTIL_TOLD = """
import select, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from pathlib import Path
from sppruner_vllm.demo.server_process import running_server, server_url
port, pid_file = int(sys.argv[2]), sys.argv[3]
command = [sys.executable, "-c", sys.argv[1], str(port), pid_file]
with running_server(command, server_url(port), {}, log=Path(pid_file + ".log")):
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], 0.1)[0]:
        pass  # a signal that comes just before a wait without end would end nothing
"""


def picture(url: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB")


def alive(pid: int) -> bool:
    """Whether the process runs; one that has ended but was not reaped yet counts as gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 90
    while alive(pid) and time.monotonic() < deadline:
        os.sched_yield()
    return not alive(pid)


def test_the_picture_is_sent_as_it_is():
    assert base64.b64decode(picture_url().partition(",")[2]) == PICTURE.read_bytes()


def test_a_variant_differs_in_the_corner_pixel_only():
    difference = ImageChops.difference(picture(picture_variant_url(0x123456)), picture(picture_url()))
    assert difference.getbbox() == (0, 0, 1, 1)


def test_variants_are_distinct_images():
    assert picture(picture_variant_url(1)).tobytes() != picture(picture_variant_url(2)).tobytes()


def test_the_example_request_asks_for_reduction():
    assert example_request("a-model")["keep_ratio"] == 0.222


def test_prefilled_tokens_are_added_up_over_engines():
    family = "vllm:request_prefill_kv_computed_tokens"
    page = f"# TYPE {family} histogram\n" + "".join(
        f'{family}_bucket{{engine="{engine}",le="+Inf"}} {count}\n'
        f'{family}_count{{engine="{engine}"}} {count}\n'
        f'{family}_sum{{engine="{engine}"}} {tokens}\n'
        for engine, count, tokens in ((0, 2.0, 94.0), (1, 1.0, 6.0))
    )
    assert prefilled(page) == (3, 100)


def test_a_server_without_requests_has_prefilled_nothing():
    assert prefilled("vllm:num_requests_running 0.0\n") == (0, 0)


def test_leaving_the_block_ends_the_server_and_its_children(tmp_path):
    port, pid_file = free_port(), tmp_path / "pid"
    command = [sys.executable, "-c", FAKE_SERVER, str(port), str(pid_file)]
    with running_server(command, server_url(port), {}, log=tmp_path / "log") as server:
        pass
    assert server.process.poll() is not None
    assert gone(int(pid_file.read_text()))


def test_what_a_server_leaves_in_shared_memory_goes_with_it(tmp_path):
    """Python's resource tracker removes it after the server, which has killed a worker, has ended."""
    port, name_file = free_port(), tmp_path / "name"
    command = [sys.executable, "-c", LEAVING_SERVER, str(port), str(name_file)]
    with running_server(command, server_url(port), {}, log=tmp_path / "log"):
        segment = Path("/dev/shm", name_file.read_text())
        assert segment.exists()
    assert not segment.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_server_and_its_children(tmp_path, number):
    pid_file = tmp_path / "pid"
    script = [sys.executable, "-c", HOLD_UNTIL_TOLD, FAKE_SERVER, str(free_port()), str(pid_file)]
    with subprocess.Popen(script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as demo:
        assert demo.stdout is not None
        assert demo.stdout.readline() == b"ready\n"
        demo.send_signal(number)
        demo.wait(120)
    assert gone(int(pid_file.read_text()))


def test_a_server_that_dies_is_reported(tmp_path):
    command = [sys.executable, "-c", "raise SystemExit(3)"]
    with (
        pytest.raises(ServerFailed, match="status 3"),
        running_server(command, server_url(free_port()), {}, log=tmp_path / "log"),
    ):
        pass


def test_a_port_that_is_taken_is_refused(tmp_path):
    port = free_port()
    command = [sys.executable, "-c", FAKE_SERVER, str(port), str(tmp_path / "pid")]
    with (
        running_server(command, server_url(port), {}, log=tmp_path / "log"),
        pytest.raises(ServerFailed, match="already listens"),
        running_server(command, server_url(port), {}, log=tmp_path / "second"),
    ):
        pass
