"""`make loadtest-stock`: stock vLLM and this server side by side, in a closed and in an open loop.

    python -m loadtest.against [--url URL --stock-url URL | --model MODEL] [--users 1,8] [--loads 0.5,0.8]

Both servers run all the time and one of them works. In a closed loop the same number of users asks each. In an open
loop both get the same requests per second, at the same times, as shares of what stock vLLM answers at most.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from .against_page import Found, Load, Side, write_comparison
from .mix import read_ratio, show_ratio
from .process import LoadFailed, run_locust
from .target import NoServer, Target, machine, parse, serving

OUT: Final = Path(".cache/loadtest-stock")
STOCK: Final = ("--stock",)
"""What makes the command that starts our server start stock vLLM."""

_WARM: Final = 24


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and report. Returns the exit status."""
    options = _parse(sys.argv[1:] if arguments is None else arguments)
    console = Console(stderr=True)
    try:
        ratios = [read_ratio(text) for text in options.ratios.split(",")]
        users = [int(text) for text in options.users.split(",") if text]
        shares = [float(text) for text in options.loads.split(",") if text]
        with ExitStack() as stack:
            stock, ours = (
                stack.enter_context(serving(url, options.model, [*more, *options.flags], options.out / f"{name}.log"))
                for name, url, more in (("stock", options.stock_url, STOCK), ("ours", options.url, ()))
            )
            sides = [Side(stock, None), *(Side(ours, ratio) for ratio in ratios)]
            _warm(options, sides)
            loads = [*map(Load, users), *_rates(options, stock, users, shares)]
            found = []
            for one in _measure(options, sides, loads):
                _tell(console, one)
                found.append(one)
    except (ValueError, NoServer, LoadFailed) as problem:
        console.print(str(problem), style="red", markup=False, highlight=False, soft_wrap=True)
        return 1
    write_comparison(found, _facts(options, stock), options.out)
    console.print(f"Report: {options.out / 'report.html'} and {options.out / 'report.md'}", highlight=False)
    return 0


def _measure(options: argparse.Namespace, sides: Sequence[Side], loads: Sequence[Load]) -> Iterator[Found]:
    """Sides take turns at each load; every other round goes through them backwards."""
    for number in range(options.rounds):
        for place, load in enumerate(loads):
            for side in sides if number % 2 == 0 else sides[::-1]:
                seeds = {
                    "seed": _seed(options, number, place, sides.index(side)),
                    "arrival_seed": _seed(options, number, place, 0),
                }
                folder = options.out / "cells" / f"{load.name}-{side.name}-{number + 1}".replace(" ", "-")
                about = {**_load(options, side), **load.options, **seeds, "sessions": options.requests}
                result = run_locust(side.server.url, folder, about)
                yield Found(number, load, side, result)


def _rates(options: argparse.Namespace, stock: Target, users: Sequence[int], shares: Sequence[float]) -> list[Load]:
    """Loads of an open loop, from what stock vLLM answers when most users ask."""
    if not shares:
        return []
    most = max([*users, options.most_users])
    about = {"users": most, "sessions": 3 * most, "seed": _seed(options, options.rounds, 0, 0)}
    result = run_locust(stock.url, options.out / "capacity", {**_load(options, Side(stock, None)), **about})
    return [Load(users=None, rate=share * result["request_throughput"], share=share) for share in shares]


def _warm(options: argparse.Namespace, sides: Sequence[Side]) -> None:
    """A cold server would be held against whoever comes first."""
    for number, side in enumerate(sides):
        about = {"users": 4, "sessions": _WARM // len(sides), "seed": _seed(options, options.rounds + 1, 0, number)}
        run_locust(side.server.url, options.out / "warm-up" / side.name, {**_load(options, side), **about})


def _seed(options: argparse.Namespace, number: int, load: int, side: int) -> int:
    """Another for each cell: no picture is sent twice to one server, where a cache would answer."""
    return int(((options.seed * 100 + number) * 100 + load) * 100 + side)


def _load(options: argparse.Namespace, side: Side) -> dict[str, Any]:
    """What every cell sends: cold pictures, and answers of the same lengths to every side."""
    return {
        "scenarios": options.scenarios,
        "video_pictures": options.video_pictures,
        "image_size": options.image_size,
        "image_pool": options.image_pool,
        "max_tokens": options.max_tokens,
        "vary_tokens": options.vary_tokens,
        "ignore_eos": True,
        "poll": 0,
        "model": side.server.model,
        "keep_ratios": show_ratio(side.ratio),
    }


def _tell(console: Console, found: Found) -> None:
    first, slow = (found.result[f"{name}_ttft_ms"] for name in ("p50", "p99"))
    console.print(
        f"Round {found.round + 1}, {found.load.name}, {found.side.name}: first token {first:.0f} ms, p99 {slow:.0f} ms",
        highlight=False,
    )


def _facts(options: argparse.Namespace, stock: Target) -> tuple[tuple[str, str], ...]:
    pictures = ("video_pictures",) if "video" in options.scenarios else ()
    about = ("scenarios", "image_size", *pictures, "max_tokens", "vary_tokens", "requests", "rounds")
    return (
        ("Device", f"{options.device or machine()}; the load generator runs on the machine that started this"),
        ("Model", f"{stock.model}, vLLM {stock.version}"),
        ("Load", ", ".join(f"{name.replace('_', ' ')} {getattr(options, name)}" for name in about)),
        ("Pictures and videos", "new to the server in every request"),
    )


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.against", description=__doc__.partition("\n\n")[0], allow_abbrev=False
    )
    add = parser.add_argument
    add("--stock-url", help="a server of stock vLLM that runs, beside --url (default: both are started)")
    add("--ratios", default="0.9,0.5,0.222", help="keep ratios (default: %(default)s)")
    add("--users", default="1,8,16,32", help="of the closed loop; empty leaves it out (default: %(default)s)")
    add("--loads", default="0.5,0.8,0.95", help="of the open loop, shares of stock's most (default: %(default)s)")
    add("--most-users", type=int, default=32, help="users that find out what stock answers (default: %(default)s)")
    add("--rounds", type=int, default=3, help="default: %(default)s")
    add("--requests", type=int, default=96, help="of a cell (default: %(default)s)")
    add(
        "--scenarios",
        default="single",
        help="mix of those of a run, such as video (default: %(default)s)",
    )
    add("--video-pictures", type=int, default=16, help="of a video (default: %(default)s)")
    add("--image-size", default="672x672", help="default: %(default)s")
    add("--image-pool", type=int, default=256, help="different images per cell (default: %(default)s)")
    add("--max-tokens", type=int, default=32, help="tokens of an answer (default: %(default)s)")
    add("--vary-tokens", type=float, default=0.75, help="share by which it is shorter or longer (default: %(default)s)")
    add("--seed", type=int, default=1, help="default: %(default)s")
    add("--out", type=Path, default=OUT, help="folder (default: %(default)s)")
    options = parse(parser, arguments)
    if (options.url is None) != (options.stock_url is None):
        parser.error("--url and --stock-url go together")
    return options


if __name__ == "__main__":
    sys.exit(main())
