"""`make loadtest-slide`: a default keep ratio that follows the load beside one that is fixed, under a spike of users.

    python -m loadtest.slide [--url URL --fixed-url URL | --model MODEL] [--users 32] [-- vLLM flags]

Both servers run all the time and take turns. Requests name no ratio, so that each gets what its server gives. Both are
sent the same pictures and questions in a round.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from .process import LoadFailed, run_locust
from .slide_page import FIXED, SLIDING, Run, write_slide
from .slo import parse_slo
from .target import NoServer, Target, machine, parse, serving

OUT: Final = Path(".cache/loadtest-slide")
SHAPE: Final = "spike"
_WARM: Final = 16


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and report. Returns the exit status: 0 also where the SLO was missed, which a spike is there for."""
    options = _parse(sys.argv[1:] if arguments is None else arguments)
    console = Console(stderr=True)
    rule = ["--load-floor-ratio", options.floor, "--load-begins", options.begins, "--load-ends", options.ends]
    flags = ["--keep-ratio", str(options.top), *options.flags]
    try:
        parse_slo(options.slo)
        with ExitStack() as stack:
            servers = {
                name: stack.enter_context(serving(url, options.model, [*flags, *more], options.out / f"{name}.log"))
                for name, url, more in ((FIXED, options.fixed_url, []), (SLIDING, options.url, map(str, rule)))
            }
            runs = []
            for run in _measure(options, servers):
                console.print(f"Round {run.round + 1}, {run.side}: {run.result['completed']} answers", highlight=False)
                runs.append(run)
    except (ValueError, NoServer, LoadFailed) as problem:
        console.print(str(problem), style="red", markup=False, highlight=False, soft_wrap=True)
        return 1
    write_slide(runs, options.users, options.seconds, _facts(options, servers[FIXED]), options.out)
    console.print(f"Report: {options.out / 'report.html'} and {options.out / 'report.md'}", highlight=False)
    return 0


def _measure(options: argparse.Namespace, servers: dict[str, Target]) -> Iterator[Run]:
    """The servers take turns; every other round begins with the other one."""
    for name, server in servers.items():  # a cold server would be held against itself
        warm = {"users": 4, "sessions": _WARM, "seed": options.seed * 1000 + 999}
        run_locust(server.url, options.out / "warm-up" / name, {**_load(options, server), **warm})
    for number in range(options.rounds):
        for name in list(servers) if number % 2 == 0 else list(servers)[::-1]:
            about = {
                **_load(options, servers[name]),
                "seed": options.seed * 1000 + number,
                "users": options.users,
                "load_shape": SHAPE,
                "run_time": f"{options.seconds}s",
                "poll": options.poll,
                "slo": options.slo,
                "max_error_ratio": 1.0,
            }
            yield Run(number, name, run_locust(servers[name].url, options.out / f"{name}-{number + 1}", about))


def _load(options: argparse.Namespace, server: Target) -> dict[str, Any]:
    return {
        "scenarios": "single",
        "keep_ratios": "default",
        "image_size": options.image_size,
        "image_pool": options.image_pool,
        "max_tokens": options.max_tokens,
        "vary_tokens": options.vary_tokens,
        "think_time": options.think_time,
        "ignore_eos": True,
        "model": server.model,
    }


def _facts(options: argparse.Namespace, server: Target) -> tuple[tuple[str, str], ...]:
    about = ("users", "seconds", "rounds", "image_size", "max_tokens", "vary_tokens", "think_time")
    return (
        ("Device", f"{options.device or machine()}; the load generator runs on the machine that started this"),
        ("Model", f"{server.model}, vLLM {server.version}"),
        ("Load", ", ".join(f"{name.replace('_', ' ')} {getattr(options, name)}" for name in about)),
        ("Rule", f"default {options.top:g}, floor {options.floor:g}, from {options.begins} to {options.ends} waiting"),
        ("SLO", options.slo),
    )


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.slide", description=__doc__.partition("\n\n")[0], allow_abbrev=False
    )
    add = parser.add_argument
    add("--fixed-url", help="a server with a fixed default that runs, beside --url (default: both are started)")
    add("--top", type=float, default=1.0, help="keep ratio that is the default of both (default: %(default)s)")
    add("--floor", type=float, default=0.222, help="keep ratio that one slides to (default: %(default)s)")
    add("--begins", type=int, default=4, help="waiting requests up to which it does not (default: %(default)s)")
    add("--ends", type=int, default=16, help="waiting requests from which it has (default: %(default)s)")
    add("--users", type=int, default=32, help="of the spike; a quarter before and after it (default: %(default)s)")
    add("--seconds", type=int, default=60, help="of a run; the spike has a fifth (default: %(default)s)")
    add("--rounds", type=int, default=2, help="default: %(default)s")
    add("--image-size", default="672x672", help="default: %(default)s")
    add("--image-pool", type=int, default=512, help="different images of a run (default: %(default)s)")
    add("--max-tokens", type=int, default=32, help="tokens of an answer (default: %(default)s)")
    add("--vary-tokens", type=float, default=0.5, help="share by which it is shorter or longer (default: %(default)s)")
    add("--think-time", type=float, default=1.0, help="seconds between a user's requests (default: %(default)s)")
    add("--slo", default="ttft:1500,tpot:100", help="limits per request in ms (default: %(default)s)")
    add("--poll", type=float, default=0.25, help="seconds between readings of the server (default: %(default)s)")
    add("--seed", type=int, default=1, help="default: %(default)s")
    add("--out", type=Path, default=OUT, help="folder (default: %(default)s)")
    options = parse(parser, arguments)
    if (options.url is None) != (options.fixed_url is None):
        parser.error("--url and --fixed-url go together")
    return options


if __name__ == "__main__":
    sys.exit(main())
