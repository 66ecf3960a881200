"""`python -m sppruner_vllm.evaluation`: ask and report, write a report again, show what a selection kept, try its gate,
measure how visual tokens and words agree, or compare ways to choose the tokens of videos, to split a budget or to fit a
ratio to each picture."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import get_args

from rich.console import Console

from sppruner_vllm.demo import places
from sppruner_vllm.demo_model import CHECKPOINT
from sppruner_vllm.planning.scope import Served

from .arguments import count
from .asking import AskingFailed
from .bootstrap import DEFAULT_RESAMPLES, FEWEST_RESAMPLES
from .conditions import DEFAULT_METHODS, DEFAULT_RATIOS, FULL, conditions
from .dataset import DEMO
from .questions import DatasetError

OUT = places.CACHE / "evaluation"


def main(arguments: list[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: None takes the command line's.

    Returns:
        Exit status: 1 when it could not be done.
    """
    parser = _parser()
    options, extra = parser.parse_known_args(arguments)
    if extra and not (options.command == "run" and options.url is None):
        parser.error(f"unrecognized arguments: {' '.join(extra)}")
    try:
        return _done(options, extra)
    except (AskingFailed, DatasetError) as problem:
        Console(stderr=True).print(str(problem), style="red", markup=False, highlight=False, soft_wrap=True)
        return 1


def _done(options: argparse.Namespace, extra: list[str]) -> int:
    """Run the command that was chosen. Args: extra: flags that are not ours."""
    # Imported late: --help answers without loading torch.
    if options.command == "run":
        from .commands import run

        return run(options, extra)
    if options.command == "report":
        from .commands import report

        return report(options)
    if options.command == "stress":
        from .stress import main as stress

        return stress(options)
    if options.command == "misfit":
        from .misfit_report import main as misfit

        return misfit(options)
    if options.command == "videos":
        from .videos import main as videos

        return videos(options)
    if options.command == "shares":
        from .shared_budgets import main as shares

        return shares(options)
    if options.command == "auto":
        from .auto_ratios import main as auto

        return auto(options)
    from .explain import main as explain

    return explain(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sppruner_vllm.evaluation", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    _add_run(commands.add_parser("run", help="ask, keep the answers, write the report; flags not listed go to vLLM"))
    report = commands.add_parser("report", help="write the report of the last run again, without asking")
    explain = commands.add_parser("explain", help="draw which visual tokens of an image a question keeps")
    misfit = commands.add_parser("misfit", help="measure how far visual tokens lie from the words for what they show")
    _add_report_options(report)
    _add_explain(explain)
    _add_stress(commands.add_parser("stress", help="ask with disturbed questions: does the gate hold?"))
    _add_misfit(misfit)
    _add_videos(commands.add_parser("videos", help="compare ways to choose the tokens of videos"))
    _add_shares(commands.add_parser("shares", help="compare ways to split a budget among the pictures of a request"))
    _add_auto(commands.add_parser("auto", help="compare a ratio that fits each picture with one for all"))
    return parser


def _add_run(run: argparse.ArgumentParser) -> None:
    where = run.add_mutually_exclusive_group()
    where.add_argument("--url", help="an OpenAI-compatible server that runs already (default: start one)")
    where.add_argument(
        "--bare",
        action="store_true",
        help="no engine, for small models: a picture is encoded once; dpp:0.3 reads questions by 0.3 of the layers, "
        "dpp:renumbered gives what is kept new positions (LLaVA)",
    )
    where.add_argument("--in-process", action="store_true", help="ask a vLLM engine in this process, without HTTP")
    run.add_argument(
        "--model", help="folder or hub name; with --url, the name it is served under (default: the demo's)"
    )
    run.add_argument("--api-key", default="none", help="for --url")
    run.add_argument("--dataset", default=DEMO, help="demo, hard, or a JSONL file (default: %(default)s)")
    run.add_argument(
        "--methods", type=_names, default=DEFAULT_METHODS, help="with commas between (default: all ten); see --bare"
    )
    run.add_argument("--ratios", type=_ratios, default=DEFAULT_RATIOS, help="with commas between; 1 is always measured")
    run.add_argument("--families", type=_names, default=(), help="only questions of these, with commas between")
    run.add_argument("--limit", type=count, help="ask at most so many questions")
    run.add_argument("--seed", type=int, default=0, help="of the demo's scenes, the sampler and the bootstrap")
    run.add_argument("--concurrency", type=count, default=4, help="requests under way at a time (default: %(default)s)")
    run.add_argument("--max-tokens", type=count, default=32, help="longest answer (default: %(default)s)")
    run.add_argument("--instruction", default="", help='text after each question, as in "Answer with one word."')
    steer = run.add_mutually_exclusive_group()
    steer.add_argument("--focus-query", help="steer every selection by this text in place of the question")
    steer.add_argument("--focus-scope", choices=get_args(Served), help="whom selections serve; default: the server's")
    _add_report_options(run)


def _add_report_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--out", type=Path, default=OUT, help="folder of answers and report (default: %(default)s)")
    command.add_argument("--against", default="downscale", help="method to win or lose against (default: %(default)s)")
    command.add_argument("--resamples", type=_resamples, default=DEFAULT_RESAMPLES, help="default: %(default)s")


def _add_explain(command: argparse.ArgumentParser) -> None:
    command.add_argument("image", type=Path)
    command.add_argument("question")
    command.add_argument("--model", default=str(CHECKPOINT), help="folder or hub name (default: the demo model)")
    command.add_argument("--keep-ratio", type=float, default=0.222, help="default: %(default)s")
    command.add_argument("--method", default="focus_context", help="default: %(default)s")
    command.add_argument("--focus-scope", choices=get_args(Served), default="question", help="default: %(default)s")
    command.add_argument("--panels", type=_names, default=(), help="image,kept,saliency,relevance (default: all)")
    command.add_argument("-o", "--out", type=Path, default=Path("explain.png"), help="default: %(default)s")


def _add_stress(command: argparse.ArgumentParser) -> None:
    command.add_argument("--model", default=str(CHECKPOINT), help="folder or hub name (default: the demo model)")
    command.add_argument("--dataset", default=DEMO, help="demo, or a JSONL file (default: %(default)s)")
    command.add_argument("--limit", type=count, default=280, help="questions (default: %(default)s)")
    command.add_argument("--seed", type=int, default=0, help="of the demo's scenes (default: %(default)s)")
    command.add_argument("--depths", type=_depths, default=(0.4,), help="shares of the layers that read the question")
    command.add_argument("--ratios", type=_ratios, default=(0.222, 0.111), help="with commas between")
    command.add_argument("--max-tokens", type=count, default=6, help="longest answer (default: %(default)s)")
    command.add_argument("--instruction", default="", help="text after each question")
    command.add_argument("--resamples", type=_resamples, default=DEFAULT_RESAMPLES, help="default: %(default)s")
    command.add_argument("--out", type=Path, default=OUT, help="folder (default: %(default)s)")


def _depths(text: str) -> tuple[float, ...]:
    depths = tuple(float(part) for part in text.split(",") if part.strip())
    if any(not 0 < depth < 1 for depth in depths):
        raise argparse.ArgumentTypeError("depths must be above 0 and below 1")
    return depths


def _add_misfit(command: argparse.ArgumentParser) -> None:
    command.add_argument("--model", default=str(CHECKPOINT), help="folder or hub name (default: the demo model)")
    command.add_argument("--scenes", type=count, default=40, help="pictures to look at (default: %(default)s)")
    command.add_argument("--texts", type=count, default=300, help="descriptions to compare with (default: %(default)s)")
    command.add_argument("--centred", action="store_true", help="take the mean from rows and neighbours first")
    command.add_argument("--seed", type=int, default=0, help="of pictures and descriptions")
    command.add_argument("--out", type=Path, default=places.CACHE / "misfit", help="folder (default: %(default)s)")


def _add_videos(command: argparse.ArgumentParser) -> None:
    _add_exam(command, ("still", "cut", "moving"))
    command.add_argument("--frames", type=count, default=4, help="of a video (default: %(default)s)")


def _add_shares(command: argparse.ArgumentParser) -> None:
    _add_exam(command, ("alike", "small", "blank"))


def _add_auto(command: argparse.ArgumentParser) -> None:
    _add_bare(command, (0.222, 0.333))


def _add_exam(command: argparse.ArgumentParser, kinds: tuple[str, ...]) -> None:
    """What exams of their own kinds of requests have in common."""
    command.add_argument("--kinds", type=_names, default=kinds, help=f"with commas between: {', '.join(kinds)}")
    _add_bare(command, (0.25, 0.1, 0.05))


def _add_bare(command: argparse.ArgumentParser, ratios: tuple[float, ...]) -> None:
    """What exams without an engine have in common."""
    command.add_argument("--model", default=str(CHECKPOINT), help="folder or hub name (default: the demo model)")
    command.add_argument("--dataset", default=DEMO, help="demo, hard, or a JSONL file (default: %(default)s)")
    command.add_argument("--limit", type=count, default=210, help="questions (default: %(default)s)")
    command.add_argument("--seed", type=int, default=0, help="of the demo's scenes (default: %(default)s)")
    command.add_argument("--ratios", type=_ratios, default=ratios, help="with commas between")
    command.add_argument("--max-tokens", type=count, default=6, help="longest answer (default: %(default)s)")
    command.add_argument("--resamples", type=_resamples, default=DEFAULT_RESAMPLES, help="default: %(default)s")
    command.add_argument("--out", type=Path, default=OUT, help="folder (default: %(default)s)")


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if FULL.method in names:
        raise argparse.ArgumentTypeError(f"{FULL.method} is measured anyway and is no method")
    return names


def _ratios(text: str) -> tuple[float, ...]:
    try:
        ratios = tuple(float(part) for part in text.split(",") if part.strip())
        conditions((), ratios)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return ratios


def _resamples(text: str) -> int:
    value = int(text)
    if value < FEWEST_RESAMPLES:
        raise argparse.ArgumentTypeError(f"must be at least {FEWEST_RESAMPLES}")
    return value


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
