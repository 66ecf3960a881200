"""`make soak`: hours of mixed requests with pictures, and whether the server's memory grows.

    python -m loadtest.soak [--hours 1] [--requests 5000] [--url URL --pid PID | --model MODEL] [-- vLLM flags]

Ends when both the hours and the requests are over. Memory is judged once the server is warm: its KV cache written over,
its other caches full, for which a server that is started here has small ones. What grows from then on is a leak.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
from tqdm import tqdm

from .files import RESULT, save
from .images import synthetic_pool
from .memory import BLOCKS, Slope, by_process, segments, slope, steady, tree
from .plots import png
from .server_metrics import kv_turns
from .soak_report import memory_over_time, report
from .target import NoServer, Target, machine, parse, serving

OUT: Final = Path(".cache/soak")
SMALL_CACHES: Final = (
    *("--mm-processor-cache-gb", "0.1", "--rows-cache-mib", "16", "--pixels-cache-mib", "16"),
    *("--max-num-batched-tokens", "1024", "--num-gpu-blocks-override", "512"),
)
KERNELS: Final = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
FEW_KERNELS: Final = "16"
"""oneDNN makes and keeps a kernel for each number of tokens in a step, 1,024 unless told otherwise: on a CPU that is a
cache like the others, but one that takes hours to fill."""

SIZES: Final = ((336, 336), (224, 672), (560, 280), (84, 840), (448, 448), (112, 112))
RATIOS: Final = (1.0, 0.5, 0.222, 0.1)

WARM_UP: Final = 1500
"""Requests with pictures: caches are full after a few hundred, the heap of a worker has its size after a thousand."""

READINGS: Final = 150 * BLOCKS
FEWEST_READINGS: Final = 3 * BLOCKS
GOOD: Final = frozenset({200, 400, 499})
"""Statuses of what is sent: served, refused on purpose, and 499 for what this client leaves on purpose."""


@dataclass(slots=True)
class Tally:
    """What happened so far.

    readings: seconds, and bytes of each process. warm: how many of them were taken before the server was warm; None
    while it is not. segments: of /dev/shm, whichever a process of the server has held at some time.
    """

    pictures: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    readings: list[tuple[float, dict[str, int]]] = field(default_factory=list)
    warm: int | None = None
    turns: float | None = None
    segments: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, status: int, pictures: bool) -> None:
        with self.lock:
            self.statuses[status] += 1
            self.pictures += pictures

    @property
    def judged(self) -> list[tuple[float, dict[str, int]]]:
        """The readings of the warm server."""
        return [] if self.warm is None else self.readings[self.warm :]


class Rate:
    """Spreads the requests of all users: so many a second at most; 0 sets no limit."""

    def __init__(self, most: float) -> None:
        self._gap = 1 / most if most else 0.0
        self._next = time.monotonic()
        self._lock = threading.Lock()

    def wait(self, over: threading.Event) -> None:
        """Until the next request may be sent, or the run is over."""
        with self._lock:
            now = time.monotonic()
            self._next = max(now, self._next + self._gap)
            pause = self._next - now
        over.wait(pause)


def main(arguments: Sequence[str] | None = None) -> int:
    """Load, watch and report. Returns the exit status: 1 where memory grows, a segment stays or a request failed."""
    options = _parse(sys.argv[1:] if arguments is None else arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    flags = [*SMALL_CACHES, *options.flags]
    kernels = {} if options.url else {KERNELS: os.environ.get(KERNELS, FEW_KERNELS)}
    try:
        log = options.out / "server.log"
        with serving(options.url, options.model, flags, log, environment=kernels) as server:
            pid = options.pid or server.pid
            if pid is None:
                raise NoServer("--url needs --pid: memory is read from the server's processes")
            result = _soak(options, server, pid)
    except NoServer as problem:
        print(problem, file=sys.stderr)
        return 1
    result["environment"] = kernels
    result["segments_left"] = [] if options.url else [name for name in result["segments"] if Path(name).exists()]
    result["problems"] = _problems(result)
    save(options.out / RESULT, result)
    (options.out / "report.md").write_text(report(result))
    (options.out / "memory.png").write_bytes(png(memory_over_time(result)))
    print(report(result))
    return 1 if result["problems"] else 0


def _soak(options: argparse.Namespace, server: Target, pid: int) -> dict[str, Any]:
    pool = [
        picture
        for number, size in enumerate(SIZES)
        for picture in synthetic_pool(options.image_pool, *size, options.seed + number)
    ]
    tally, began, over = Tally(), time.monotonic(), threading.Event()
    seconds = options.hours * 3600
    rate = Rate(options.rate)
    held: dict[str, int] | None = None
    # Few requests may all be answered before the loop below looks for the first time.
    tally.readings.append((0.0, by_process(pid)))
    with (
        httpx.Client(base_url=server.url, timeout=600) as client,
        tqdm(total=options.requests, unit="request", smoothing=0.05, desc="warming up") as bar,
        ThreadPoolExecutor(options.users) as users,
    ):
        work = [
            users.submit(_use, server, pool, options.seed * 1000 + user, tally, over, rate)
            for user in range(options.users)
        ]
        pause = max(0.05, seconds / READINGS)
        try:
            while (
                tally.pictures < options.requests
                or time.monotonic() - began < seconds
                or (tally.warm is not None and len(tally.judged) < FEWEST_READINGS)
            ):
                if any(one.done() for one in work):
                    break
                if tally.warm is None and _warm(options, tally, client):
                    tally.warm, held = len(tally.readings), segments(tree(pid))
                    bar.set_description("measuring")
                tally.readings.append((time.monotonic() - began, by_process(pid)))
                tally.segments |= segments(tree(pid)).keys()
                bar.update(tally.pictures - bar.n)
                total = sum(tally.readings[-1][1].values())
                bar.set_postfix(MiB=total // 2**20, minutes=round((time.monotonic() - began) / 60, 1))
                over.wait(pause)
        finally:
            over.set()
    for one in work:
        one.result()  # a mistake in here is no figure
    after = segments(tree(pid))
    return {
        "device": options.device or machine(),
        "model": server.root,
        "version": server.version,
        "seconds": time.monotonic() - began,
        "users": options.users,
        "picture_requests": tally.pictures,
        "statuses": dict(tally.statuses),
        "kv_turns": tally.turns,
        "warm_after_seconds": tally.judged[0][0] if tally.judged else None,
        "processes": _processes(tally.judged),
        "segments": sorted(tally.segments),
        "segments_before": held or after,
        "segments_after": after,
        "readings": tally.readings,
    }


def _warm(options: argparse.Namespace, tally: Tally, client: httpx.Client) -> bool:
    """Whether every page that the server takes for its caches has been written to.

    So many requests fill the caches of pictures; how often the KV cache was gone through, the server says.
    """
    if tally.pictures < options.warm_up:
        return False
    tally.turns = kv_turns(client.get("/metrics").text)
    return tally.turns is None or tally.turns >= options.kv_turns


def _processes(readings: Sequence[tuple[float, Mapping[str, int]]]) -> dict[str, dict[str, float]]:
    """Of each process, and of all together: bytes at the beginning, the end, at least and at most, and slopes a second.

    The slope that is judged is that of the mean. That of the least stands beside it, what is left each time when a
    process has given back what it holds free: where the mean rises and the least does not, gaps in the heap do.
    Empty where the server did not get warm.
    """
    if len(readings) < FEWEST_READINGS:
        return {}
    times = [at for at, _ in readings]
    found = {}
    for name, sizes in steady(readings).items():
        grown, least = slope(times, sizes), slope(times, sizes, min)
        found[name] = {
            "first": float(sizes[0]),
            "last": float(sizes[-1]),
            "most": float(max(sizes)),
            "slope": grown.value,
            "margin": grown.margin,
            "least": float(min(sizes)),
            "least_slope": least.value,
            "least_margin": least.margin,
        }
    return found


def _use(server: Target, pool: Sequence[str], seed: int, tally: Tally, over: threading.Event, rate: Rate) -> None:
    """One user: a request after the other, of every kind, until the run is over."""
    draw = random.Random(seed)  # noqa: S311 (no secret)
    with httpx.Client(base_url=server.url, timeout=600) as client:
        while not over.is_set():
            rate.wait(over)
            body, leaves = _request(server.model, pool, draw)
            pictures = len(body["messages"][0]["content"]) > 1
            with client.stream("POST", "/v1/chat/completions", json=body) as answer:
                if leaves and answer.status_code == 200:
                    next(answer.iter_raw(), b"")
                    tally.count(499, pictures)
                    continue
                answer.read()
            tally.count(answer.status_code, pictures)


def _request(model: str, pool: Sequence[str], draw: random.Random) -> tuple[dict[str, Any], bool]:
    """A body, and whether its client leaves after the first piece: one in 20 does, one in 20 is refused."""
    kind = draw.randrange(20)
    urls = draw.choices(pool, k=0 if kind == 2 else draw.randint(1, 3))
    content: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    content.append({"type": "text", "text": f"what is this, asked with {draw.random()}"})
    body = {
        "model": model,
        "messages": [{"role": "user", "content": content}],
        "max_tokens": draw.randint(1, 16),
        "keep_ratio": 7 if kind == 1 else draw.choice(RATIOS),
        "stream": kind == 0 or draw.random() < 0.3,
    }
    return body, kind == 0


def _problems(result: Mapping[str, Any]) -> list[str]:
    """What a leak, a lost segment or a failure is told as; empty where all is well."""
    grown = [name for name, one in result["processes"].items() if Slope(one["slope"], one["margin"]).grows]
    failed = {status: count for status, count in result["statuses"].items() if status not in GOOD}
    found = []
    if not result["processes"]:
        found.append("the server did not get warm, so nothing is known of its memory")
    if grown:
        found.append(f"memory grows: {', '.join(grown)}")
    if new := sorted(result["segments_after"].keys() - result["segments_before"].keys()):
        found.append(f"new in /dev/shm: {', '.join(new)}")
    if result["segments_left"]:
        found.append(f"left in /dev/shm: {', '.join(result['segments_left'])}")
    if failed:
        found.append(f"unexpected statuses: {failed}")
    return found


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.soak", description=__doc__.partition("\n\n")[0], allow_abbrev=False
    )
    add = parser.add_argument
    add("--hours", type=float, default=1.0, help="at least so long (default: %(default)s)")
    add("--requests", type=int, default=5000, help="at least so many with pictures (default: %(default)s)")
    add("--users", type=int, default=8, help="at a time (default: %(default)s)")
    add("--rate", type=float, default=0.0, help="requests a second of all users, at most (default: as they come)")
    add(
        "--warm-up",
        type=int,
        default=WARM_UP,
        help="requests with pictures first (default: %(default)s)",
    )
    add(
        "--kv-turns",
        type=float,
        default=2.0,
        help="and first, tokens that fill the KV cache so often (default: %(default)s)",
    )
    add("--image-pool", type=int, default=64, help="pictures of each of six sizes (default: %(default)s)")
    add("--pid", type=int, help="with --url: the process that was started")
    add("--seed", type=int, default=1, help="default: %(default)s")
    add("--out", type=Path, default=OUT, help="folder (default: %(default)s)")
    return parse(parser, arguments)


if __name__ == "__main__":
    sys.exit(main())
