"""Starts our real server for tests, and makes images to send to it.

Started and stopped as the demo does it. The log goes to a file whose tail is shown when the server does not come up.
"""

from __future__ import annotations

import base64
import io
import json
import os
import random
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from sppruner_vllm.demo.server_process import ServerFailed, free_port, running_server, server_command, server_url

CPU_FLAGS = ("--enforce-eager", "--block-size", "32", "--max-model-len", "4096", "--dtype", "float32")
TOOLS = (
    *("--enable-auto-tool-choice", "--tool-call-parser", "hermes"),
    *("--structured-outputs-config", '{"backend": "xgrammar", "disable_any_whitespace": true}'),
)
"""Flags by which a model that has learnt nothing calls tools and ends its JSON."""

KEPT_CONNECTIONS = {"VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "600"}
"""A client gives up an idle connection first: one that both sides give up after 5 s is used as it is closed."""

CPU_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "SPPRUNER_WRITE_TIMEOUT": "600",  # tests hold streams by not reading them
    **KEPT_CONNECTIONS,
}
MODEL_NAME = "tiny"
GRAFANA = 'https://grafana.example/a"b/'
"""Address that the shared server's playground links to."""
START_SECONDS = 600
STOP_SECONDS = 120
WAIT_SECONDS = 240
"""Limits that a busy machine must never come near; a test that passes does not wait for them."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answers: its address, process and log."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def living(self) -> list[str]:
        """The command lines of the processes of its group that still run."""
        return [
            " ".join(process.info["cmdline"] or [])
            for process in psutil.process_iter(["pid", "status", "cmdline"])
            if process.info["status"] != psutil.STATUS_ZOMBIE and _group(process.info["pid"]) == self.process.pid
        ]

    def log_tail(self) -> str:
        """The last lines of its log."""
        return log_tail(self.log)


def command_of(model: Path, port: int, *flags: str) -> list[str]:
    """The command line of a server of `model`; `flags` are in addition to CPU_FLAGS."""
    return server_command([str(model), "--served-model-name", MODEL_NAME, *CPU_FLAGS, *flags], port)


@contextmanager
def serving(model: Path, log: Path, *flags: str, env: Mapping[str, str] | None = None) -> Iterator[Server]:
    """A server of `model` that is ready, stopped at the end together with its children.

    Args:
        model: checkpoint folder.
        log: file for what the server prints.
        flags: in addition to CPU_FLAGS.
        env: in addition to this process's own and CPU_ENVIRONMENT.
    """
    port = free_port()
    command = command_of(model, port, *flags)
    environment = {**CPU_ENVIRONMENT, **(env or {})}
    try:
        with running_server(command, server_url(port), environment, log=log, limit=START_SECONDS) as started:
            yield Server(started.url, started.process, log)
    except ServerFailed as failure:
        raise RuntimeError(f"{failure}:\n{log_tail(log)}") from failure


def processes(server: Server, name: str) -> list[psutil.Process]:
    """The processes of a server with such a title."""
    found = []
    for child in psutil.Process(server.process.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it ended meanwhile
            if name in " ".join(child.cmdline()):
                found.append(child)
    return found


@contextmanager
def standing_still(several: Sequence[psutil.Process]) -> Iterator[None]:
    """Processes that do nothing inside the block."""
    for process in several:
        process.suspend()
    try:
        assert eventually(lambda: all(process.status() == psutil.STATUS_STOPPED for process in several))
        yield
    finally:
        for process in several:
            with suppress(psutil.NoSuchProcess):
                process.resume()


@contextmanager
def frozen(server: Server) -> Iterator[None]:
    """The server while its engine stands still: whatever it was asked stays in flight until the block ends."""
    engines = processes(server, "EngineCore")
    assert engines
    with standing_still(engines):
        yield


@contextmanager
def program(
    command: Sequence[str], log: Path, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A program that runs as long as the block lasts, its output in a file; `env` is in addition to our own."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, **(env or {})})
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _group(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


def log_tail(log: Path, lines: int = 60) -> str:
    """The last lines of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def png(width: int, height: int, seed: int = 0) -> bytes:
    """A noisy picture that compresses badly enough to be no special case; the same seed gives the same bytes."""
    small = Image.frombytes("RGB", (16, 16), random.Random(seed).randbytes(16 * 16 * 3))
    buffer = io.BytesIO()
    small.resize((width, height), Image.Resampling.BICUBIC).save(buffer, "PNG")
    return buffer.getvalue()


def data_url(content: bytes, media_type: str = "image/png") -> str:
    """A data: URL of a file."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def chat_body(*urls: str, text: str = "what is this", **fields: object) -> dict[str, object]:
    """The body of a chat completion request with images before a text."""
    content = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    messages = [{"role": "user", "content": [*content, {"type": "text", "text": text}]}]
    return {"model": MODEL_NAME, "messages": messages, "max_tokens": 4, "temperature": 0, **fields}


def responses_body(*urls: str, text: str = "what is this", **fields: object) -> dict[str, object]:
    """The body of a Responses API request with images before a text."""
    content = [{"type": "input_image", "image_url": url, "detail": "auto"} for url in urls]
    message = {"role": "user", "content": [*content, {"type": "input_text", "text": text}]}
    return {"model": MODEL_NAME, "input": [message], "max_output_tokens": 4, "temperature": 0, **fields}


def keeping_client(url: str, *socket_options: tuple[int, int, int]) -> httpx.Client:
    """A client that keeps its connection."""
    transport = httpx.HTTPTransport(limits=httpx.Limits(keepalive_expiry=None), socket_options=socket_options)
    return httpx.Client(base_url=url, transport=transport, timeout=WAIT_SECONDS)


def narrow_client(url: str) -> httpx.Client:
    """The same, with sockets that hold next to nothing of an answer that is not read; a long one takes it seconds."""
    return keeping_client(url, (socket.SOL_SOCKET, socket.SO_RCVBUF, 4096))


@contextmanager
def unread(reader: httpx.Client, choices: int = 1) -> Iterator[Iterator[bytes]]:
    """A stream to a narrow client that has begun, and stays in flight until the block ends, however quick the engine.

    What stands in the way of its end is back-pressure: the client reads the first piece alone, and some 10 MB of
    log-probabilities for each choice are more than the server's side of a connection takes.

    Args:
        reader: the client.
        choices: 1 fills a connection; a proxy has two more sockets, one of which may take 32 MiB, and needs 8.

    Yields:
        The pieces that are still to be read.
    """
    body = chat_body(
        stream=True, max_tokens=3900, n=choices, temperature=1, ignore_eos=True, logprobs=True, top_logprobs=20
    )
    with reader.stream("POST", "/v1/chat/completions", json=body) as response:
        response.raise_for_status()
        pieces = response.iter_raw()  # one that is dropped closes the stream
        next(pieces)
        yield pieces


@contextmanager
def unread_stream(server: Server) -> Iterator[None]:
    """The same, on a connection of its own."""
    with narrow_client(server.url) as reader, unread(reader):
        yield


def eventually(condition: Callable[[], bool], within: float = WAIT_SECONDS, every: float = 0.05) -> bool:
    """Whether the condition comes true within some seconds, asked every so many."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(every)
    return False


def metric(client: httpx.Client, name: str, **labels: str) -> float:
    """The sum of a sample over /metrics, restricted to the labels given; 0 when there is none."""
    families = text_string_to_metric_families(client.get("/metrics").text)
    samples = (sample for family in families for sample in family.samples if sample.name == name)
    return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())


def sse_data(text: str) -> list[dict[str, Any]]:
    """The JSON documents of a server-sent-event stream, in order."""
    lines = (line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: "))
    return [json.loads(line) for line in lines if line != "[DONE]"]
