"""`make soak`: hours of mixed requests with pictures, and whether the server's memory grows.

    python -m loadtest.soak [--hours 1] [--requests 5000] [--url URL --pid PID | --model MODEL] [-- vLLM flags]

Ends when both the hours and the requests are over. The caches of a server that it starts are small, so that they are
full after the first part of a run: what grows afterwards is a leak.
"""

from __future__ import annotations

import argparse
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
from tqdm import tqdm

from .files import RESULT, save
from .images import synthetic_pool
from .memory import BLOCKS, Slope, anonymous, segments, slope, tree
from .target import NoServer, Target, machine, parse, serving

OUT: Final = Path(".cache/soak")
SMALL_CACHES: Final = (
    *("--mm-processor-cache-gb", "0.1", "--rows-cache-mib", "16", "--pixels-cache-mib", "16"),
    *("--max-num-batched-tokens", "1024"),
)
SIZES: Final = ((336, 336), (224, 672), (560, 280), (84, 840), (448, 448), (112, 112))
RATIOS: Final = (1.0, 0.5, 0.222, 0.1)
STEADY: Final = 0.25
"""Share of the run before memory is judged: caches fill, and the allocator finds its size."""

READINGS: Final = 50 * BLOCKS
FEWEST_READINGS: Final = 3 * BLOCKS
GOOD: Final = frozenset({200, 400, 499})
"""Statuses of what is sent: served, refused on purpose, and 499 for what this client leaves on purpose."""


@dataclass(slots=True)
class Tally:
    """What happened so far. readings: seconds, bytes of all processes."""

    pictures: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    readings: list[tuple[float, int]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, status: int, pictures: bool) -> None:
        with self.lock:
            self.statuses[status] += 1
            self.pictures += pictures


def main(arguments: Sequence[str] | None = None) -> int:
    """Load, watch and report. Returns the exit status: 1 where memory grows, a segment stays or a request failed."""
    options = _parse(sys.argv[1:] if arguments is None else arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    flags = [*SMALL_CACHES, *options.flags]
    try:
        with serving(options.url, options.model, flags, options.out / "server.log") as server:
            pid = options.pid or server.pid
            if pid is None:
                raise NoServer("--url needs --pid: memory is read from the server's processes")
            result = _soak(options, server, pid)
    except NoServer as problem:
        print(problem, file=sys.stderr)
        return 1
    result["segments_left"] = [] if options.url else [name for name in result["segments"] if Path(name).exists()]
    problems = _problems(result)
    save(options.out / RESULT, {**result, "problems": problems})
    (options.out / "report.md").write_text(report(result, problems))
    print(report(result, problems))
    return 1 if problems else 0


def _soak(options: argparse.Namespace, server: Target, pid: int) -> dict[str, Any]:
    pool = [
        picture
        for number, size in enumerate(SIZES)
        for picture in synthetic_pool(options.image_pool, *size, options.seed + number)
    ]
    tally, began, over = Tally(), time.monotonic(), threading.Event()
    seconds = options.hours * 3600
    held = segments(tree(pid))
    with (
        tqdm(total=options.requests, unit="request", smoothing=0.05) as bar,
        ThreadPoolExecutor(options.users) as users,
    ):
        work = [
            users.submit(_use, server, pool, options.seed * 1000 + user, tally, over) for user in range(options.users)
        ]
        pause = max(0.05, seconds / READINGS)
        try:
            while (
                tally.pictures < options.requests
                or time.monotonic() - began < seconds
                or len(tally.readings) < FEWEST_READINGS
            ):
                if any(one.done() for one in work):
                    break
                tally.readings.append((time.monotonic() - began, sum(map(anonymous, tree(pid)))))
                bar.update(tally.pictures - bar.n)
                bar.set_postfix(MiB=tally.readings[-1][1] // 2**20, minutes=round((time.monotonic() - began) / 60, 1))
                time.sleep(pause)
        finally:
            over.set()
    for one in work:
        one.result()  # a mistake in here is no figure
    settled = tally.readings[int(STEADY * len(tally.readings)) :]
    grown = slope([at for at, _ in settled], [float(size) for _, size in settled])
    return {
        "device": options.device or machine(),
        "model": server.root,
        "version": server.version,
        "seconds": time.monotonic() - began,
        "users": options.users,
        "picture_requests": tally.pictures,
        "statuses": dict(tally.statuses),
        "slope_bytes_per_second": grown.value,
        "slope_margin_bytes_per_second": grown.margin,
        "bytes": {"first": settled[0][1], "last": settled[-1][1], "most": max(size for _, size in settled)},
        "segments": held,
        "segments_after": segments(tree(pid)),
        "readings": tally.readings,
    }


def _use(server: Target, pool: Sequence[str], seed: int, tally: Tally, over: threading.Event) -> None:
    """One user: a request after the other, of every kind, until the run is over."""
    draw = random.Random(seed)  # noqa: S311 (no secret)
    with httpx.Client(base_url=server.url, timeout=600) as client:
        while not over.is_set():
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


def _problems(result: dict[str, Any]) -> list[str]:
    """What a leak, a lost segment or a failure is told as; empty where all is well."""
    grown = Slope(result["slope_bytes_per_second"], result["slope_margin_bytes_per_second"])
    failed = {status: count for status, count in result["statuses"].items() if status not in GOOD}
    found = []
    if grown.grows:
        found.append("memory grows")
    if set(result["segments_after"]) != set(result["segments"]):
        found.append("the segments of /dev/shm are others than before")
    if result["segments_left"]:
        found.append(f"left in /dev/shm: {', '.join(result['segments_left'])}")
    if failed:
        found.append(f"unexpected statuses: {failed}")
    return found


def report(result: dict[str, Any], problems: Sequence[str]) -> str:
    """The figures in Markdown."""
    hour = 3600 / 2**20
    size = {name: f"{value / 2**20:.1f} MiB" for name, value in result["bytes"].items()}
    lines = [
        "# Soak",
        "",
        f"- {result['picture_requests']} requests with pictures in {result['seconds'] / 3600:.2f} h, "
        f"{result['users']} users, {result['model']} on {result['device']}, vLLM {result['version']}",
        f"- statuses: {result['statuses']}",
        f"- anonymous memory of all processes after {STEADY:.0%} of the run: {size['first']}, "
        f"at the end {size['last']}, at most {size['most']}",
        f"- slope: {result['slope_bytes_per_second'] * hour:+.2f} MiB/h "
        f"± {result['slope_margin_bytes_per_second'] * hour:.2f} (95 %)",
        f"- /dev/shm: {len(result['segments'])} segments before, {len(result['segments_after'])} after",
        f"- {'; '.join(problems) or 'nothing grows, nothing stays'}",
        "",
    ]
    return "\n".join(lines)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.soak", description=__doc__.partition("\n\n")[0], allow_abbrev=False
    )
    add = parser.add_argument
    add("--hours", type=float, default=1.0, help="at least so long (default: %(default)s)")
    add("--requests", type=int, default=5000, help="at least so many with pictures (default: %(default)s)")
    add("--users", type=int, default=8, help="at a time (default: %(default)s)")
    add("--image-pool", type=int, default=64, help="pictures of each of six sizes (default: %(default)s)")
    add("--pid", type=int, help="with --url: the process that was started")
    add("--seed", type=int, default=1, help="default: %(default)s")
    add("--out", type=Path, default=OUT, help="folder (default: %(default)s)")
    return parse(parser, arguments)


if __name__ == "__main__":
    sys.exit(main())
