"""The command line of a run: our options beside Locust's own, and what they come to.

Locust's `--host`, `--users`, `--run-time` and `--stop-timeout` keep their meaning.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .conversations import SCENARIOS
from .images import folder_pool, synthetic_pool, video_pool
from .mix import parse_mix, read_ratio
from .shapes import POISSON, SHAPES
from .slo import Slo, parse_slo
from .workload import SEVERAL, VIDEO, Lengths, Made, Replayed, Workload, read_requests

TEXT: Final = "text"
DEFAULT_SECONDS: Final = 60.0
IGNORED_IN_REPORT: Final = frozenset({"out", "model", "slo", "slo_share", "max_error_ratio", "load_shape"})


class BadOption(ValueError):
    """An option cannot be used; the message names it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add our options to Locust's parser."""
    group = parser.add_argument_group("load test of visual tokens")
    add = group.add_argument
    add("--load-shape", choices=[*SHAPES, POISSON], default="steady", help="users over time, or an open loop")
    add("--rate", type=float, default=1.0, help="sessions per second of the open loop (default: 1)")
    add("--sessions", type=int, help="end after so many sessions (default: when --run-time is over)")
    add("--scenarios", default="single", help=f"mix of {', '.join(SCENARIOS)}, as in single:3,text:1")
    add("--keep-ratios", default="default", help="mix of keep ratios, as in 1:1,0.5:1,0.222:2; `default` sends none")
    add("--image-size", default="448x448", help="of synthetic images and videos (default: 448x448)")
    add("--image-pool", type=int, default=128, help="different synthetic images, or videos; later sessions repeat them")
    add("--image-folder", type=Path, help="send the pictures of this folder instead")
    add("--video-pictures", type=int, default=16, help="pictures of a synthetic video (default: 16)")
    add("--images", type=int, default=3, help="images per request of several-images (default: 3)")
    add("--length", type=int, default=4, help="requests per multi-turn or many-questions session (default: 4)")
    add("--replay", type=Path, help="send the requests of this JSONL file instead of a mix")
    add("--max-tokens", type=int, default=32, help="longest answer (default: 32)")
    add("--vary-tokens", type=float, default=0.0, help="share by which --max-tokens is shorter or longer (default: 0)")
    add("--ignore-eos", action="store_true", help="make every answer that long: equal work for all")
    add("--extra-body", default="{}", help="JSON object of further fields for every request")
    add("--think-time", type=float, default=0.0, help="seconds a user waits between sessions (default: 0)")
    add("--seed", type=int, default=1, help="draws images, questions, ratios and arrivals (default: 1)")
    add("--arrival-seed", type=int, help="draws the arrivals of the open loop alone (default: --seed)")
    add("--warmup", type=int, default=1, help="sessions before the run, not counted (default: 1)")
    add("--poll", type=float, default=0.5, help="seconds between readings of /metrics; 0 reads none (default: 0.5)")
    add("--model", default="", help="served name (default: the first that the server lists)")
    add("--slo", default="", help="limits per request in ms, as in ttft:500,tpot:50,e2e:2000")
    add("--slo-share", type=float, default=0.99, help="share of requests that must keep them (default: 0.99)")
    add("--max-error-ratio", type=float, default=0.0, help="share of failed requests still accepted (default: 0)")
    add("--out", type=Path, default=Path("loadtest-result"), help="folder for result.json and the reports")


@dataclass(frozen=True, slots=True)
class Job:
    """What a run does. Closed loop: `users` and `shape`; open loop: `rate`, and `users` is None."""

    workload: Workload
    shape: str
    users: int | None
    rate: float | None
    seconds: float | None
    sessions: int | None
    think_s: float
    arrival_seed: int
    warmup: int
    poll_s: float
    model: str
    slo: Slo | None
    error_bound: float
    out: Path
    options: dict[str, Any]


def make_job(options: argparse.Namespace) -> Job:
    """Check the options and prepare the work, pictures included.

    Raises:
        BadOption: one of them cannot be used.
    """
    try:
        slo = parse_slo(options.slo, options.slo_share) if options.slo else None
        workload = _workload(options)
        _check(options)
    except (ValueError, OSError) as problem:
        raise BadOption(str(problem)) from problem
    open_loop = options.load_shape == POISSON
    sessions = options.sessions if workload.size is None else min(options.sessions or workload.size, workload.size)
    return Job(
        workload=workload,
        shape=options.load_shape,
        users=None if open_loop else options.num_users or 1,
        rate=options.rate if open_loop else None,
        seconds=float(options.run_time) if options.run_time else None if sessions else DEFAULT_SECONDS,
        sessions=sessions,
        think_s=options.think_time,
        arrival_seed=options.seed if options.arrival_seed is None else options.arrival_seed,
        warmup=options.warmup,
        poll_s=options.poll,
        model=options.model,
        slo=slo,
        error_bound=options.max_error_ratio,
        out=options.out,
        options=_told(options),
    )


def _workload(options: argparse.Namespace) -> Workload:
    fields = json.loads(options.extra_body)
    if not isinstance(fields, dict):
        raise ValueError("--extra-body must be a JSON object")
    fields = {**({"ignore_eos": True} if options.ignore_eos else {}), **fields}
    ratios = parse_mix(options.keep_ratios, read_ratio)
    if options.replay is not None:
        return Replayed(
            read_requests(options.replay), ratios, options.seed, {"max_tokens": options.max_tokens, **fields}
        )
    scenarios = parse_mix(options.scenarios, _scenario)
    pictures = _pictures(options, SEVERAL in scenarios.values) if {*scenarios.values} - {TEXT, VIDEO} else ()
    videos = _videos(options) if VIDEO in scenarios.values else ()
    lengths = Lengths(
        options.max_tokens,
        options.vary_tokens,
        options.seed if options.arrival_seed is None else options.arrival_seed,
    )
    return Made(options.seed, scenarios, ratios, pictures, options.images, options.length, fields, lengths, videos)


def _pictures(options: argparse.Namespace, several: bool) -> tuple[str, ...]:
    if options.image_folder is not None:
        return folder_pool(options.image_folder)
    needed = (options.sessions or options.image_pool) * (options.images if several else 1)
    return synthetic_pool(max(1, min(options.image_pool, needed)), *_size(options), options.seed)


def _videos(options: argparse.Namespace) -> tuple[str, ...]:
    needed = min(options.image_pool, options.sessions or options.image_pool)
    return video_pool(max(1, needed), *_size(options), options.video_pictures, options.seed)


def _size(options: argparse.Namespace) -> tuple[int, int]:
    width, height = (int(side) for side in options.image_size.split("x"))
    return width, height


def _scenario(name: str) -> str:
    if name not in SCENARIOS:
        raise ValueError(f"a scenario is one of {', '.join(SCENARIOS)}; got {name!r}")
    return name


def _check(options: argparse.Namespace) -> None:
    for name in ("sessions", "images", "length", "max_tokens", "image_pool", "video_pictures", "rate"):
        value = getattr(options, name)
        if value is not None and not value > 0:
            raise ValueError(f"--{name.replace('_', '-')} must be above 0, got {value}")
    if not 0 <= options.vary_tokens < 1:
        raise ValueError(f"--vary-tokens must be at least 0 and below 1, got {options.vary_tokens}")
    for name in ("think_time", "warmup", "poll", "max_error_ratio"):
        if getattr(options, name) < 0:
            raise ValueError(f"--{name.replace('_', '-')} must not be below 0")
    if options.sessions and not options.run_time and options.load_shape not in ("steady", POISSON):
        raise ValueError(f"--load-shape {options.load_shape} spreads over time: give --run-time")


def _told(options: argparse.Namespace) -> dict[str, Any]:
    """Our options as text, for the report; what it shows elsewhere is left out."""
    parser = argparse.ArgumentParser(add_help=False)
    add_arguments(parser)
    ours = sorted(vars(parser.parse_args([])).keys() - IGNORED_IN_REPORT)
    values = {name: getattr(options, name) for name in ours}
    return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}
