"""`python -m sppruner_vllm.evaluation.capacity`: GPUs for a traffic, from what one replica was measured to do.

    python -m sppruner_vllm.evaluation.capacity .cache/loadtest --model MODEL --kv-gib 30 --peak 100

Reads result files of the load test, computes, and asks no server. Formulas and examples: docs/operate/scaling.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from sppruner_vllm.demo_model import CHECKPOINT
from sppruner_vllm.errors import InvalidField
from sppruner_vllm.request.checking import validate_keep_ratio

from .arguments import count
from .capacity_fleet import Layout, Traffic
from .capacity_memory import DTYPE_BYTES, pool, read_kv_shape
from .capacity_rate import Measurement
from .capacity_results import read_results
from .capacity_sizing import Question, Sizing, make_sizing
from .capacity_tokens import Request, Video, read_patches, visual_tokens
from .capacity_view import document, facts, markdown, table


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the sizing. Returns the exit status: 1 when a file or a figure cannot be used."""
    options = _parser().parse_args(arguments)
    try:
        sizing = _sizing(options)
        if options.json:
            options.json.write_text(json.dumps(document(sizing), indent=2) + "\n")
        if options.plot:
            from .capacity_plot import draw  # imported late: only plots need matplotlib

            draw(sizing).savefig(options.plot, dpi=150)
    except (ValueError, OSError, InvalidField) as problem:
        Console(stderr=True).print(str(problem), style="red", markup=False, highlight=False, soft_wrap=True)
        return 1
    _show(sizing, options.markdown)
    return 0


def _sizing(options: argparse.Namespace) -> Sizing:
    reports = [one for path in options.reports for one in read_results(path)]
    request = _request(options, reports)
    assumed = [_assumed(text, request) for text in options.assume]
    if both := {one.keep_ratio for one in reports} & {one.keep_ratio for one in assumed}:
        raise ValueError(f"keep ratio {min(both):g} was measured: it cannot be assumed as well")
    measured = [*reports, *assumed]
    ratios = options.ratios or tuple(sorted({one.keep_ratio for one in measured}, reverse=True))
    if not ratios:
        raise ValueError("give reports of a load test, --assume, or --ratios for tokens and memory alone")
    question = Question(
        request=request,
        pool=pool(options.kv_gib * 2**30, options.block_size, read_kv_shape(options.model, options.dtype)),
        traffic=Traffic(options.peak, options.headroom, options.peak_to_mean),
        layout=Layout(options.gpus, options.spares, options.per_cell, options.regions),
        ratios=ratios,
        users=options.users,
    )
    return make_sizing(question, measured)


def _request(options: argparse.Namespace, reports: Sequence[Measurement]) -> Request:
    """What the flags say; what they leave open is that of the first report."""
    typical = reports[0].request if reports else None
    if options.image_size:
        width, height = options.image_size
        visual: tuple[int, ...] = (visual_tokens(width, height, read_patches(options.model)),) * options.images
    elif options.video:
        visual = ()
    elif typical is not None:
        visual = typical.visual
    else:
        raise ValueError("without a report, --image-size or --video says what a request shows")
    text, output, videos = options.text_tokens, options.output_tokens, tuple(options.video)
    if typical is not None:
        text, output = typical.text if text is None else text, typical.output if output is None else output
    if text is None or output is None:
        raise ValueError("without a report, --text-tokens and --output-tokens say how long a request is")
    return Request(visual, text, output, videos)


def _assumed(text: str, request: Request) -> Measurement:
    try:
        ratio, users, ttft_ms, tpot_ms, rate = map(float, text.split(":"))
    except ValueError as error:
        raise ValueError(f"--assume is RATIO:USERS:TTFT_MS:TPOT_MS:TOKENS_PER_S, got {text!r}") from error
    keep_ratio = validate_keep_ratio(ratio)
    if not min(users, ttft_ms, tpot_ms, rate) > 0:
        raise ValueError(f"--assume takes figures above 0, got {text!r}")
    return Measurement(keep_ratio, users, ttft_ms / 1000, tpot_ms / 1000, rate, request, basis="assumed")


def _show(sizing: Sizing, as_markdown: bool) -> None:
    if as_markdown:
        sys.stdout.write(markdown(sizing))
        return
    console = Console()
    for fact in facts(sizing):
        console.print(fact, highlight=False)
    console.print(table(sizing))
    for warning in sizing.warnings:
        console.print(warning, style="yellow", highlight=False, markup=False)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sppruner_vllm.evaluation.capacity", description=__doc__.partition("\n\n")[0]
    )
    add = parser.add_argument
    add("reports", type=Path, nargs="*", help="result.json of a load test, or a folder of them, such as a sweep's")
    add("--assume", action="append", default=[], metavar="RATIO:USERS:TTFT_MS:TPOT_MS:TOKENS_PER_S")
    add("--model", type=Path, default=CHECKPOINT, help="checkpoint folder; its JSON files are read, no weights")
    add("--ratios", type=_ratios, help="keep ratios, with commas between (default: those measured)")
    add("--users", type=float, help="concurrency of a replica (default: the most that kept the SLO)")
    replica = parser.add_argument_group("a replica")
    add = replica.add_argument
    add("--kv-gib", type=_positive, required=True, help="GiB of KV cache; vLLM's log says it when it starts")
    add("--block-size", type=count, default=16, help="tokens of a KV block (default: %(default)s)")
    add("--dtype", choices=DTYPE_BYTES, help="of the KV cache (default: the checkpoint's)")
    add("--gpus", type=count, default=1, help="GPUs of a replica (default: %(default)s)")
    asked = parser.add_argument_group("a request (default: as measured)")
    add = asked.add_argument
    add("--image-size", type=_size, help="WIDTHxHEIGHT in pixels")
    add("--images", type=count, default=1, help="images of that size (default: %(default)s)")
    add("--video", type=_video, action="append", default=[], metavar="FRAMESxTOKENS", help="a video; may be repeated")
    add("--text-tokens", type=_positive, help="prompt tokens that are not visual")
    add("--output-tokens", type=_positive, help="tokens of an answer")
    fleet = parser.add_argument_group("the fleet")
    add = fleet.add_argument
    add("--peak", type=_positive, default=1.0, help="requests per second at the peak (default: %(default)s)")
    add("--headroom", type=float, default=0.3, help="share of a replica left free then (default: %(default)s)")
    add("--peak-to-mean", type=float, default=3.0, help="peak over a month's mean (default: %(default)s)")
    add("--spares", type=int, default=1, help="replicas of a cell that may be down (default: %(default)s)")
    add("--per-cell", type=count, help="most replicas behind one balancer (default: all)")
    add("--regions", type=count, default=1, help="of which one may be lost when there are several (default: 1)")
    shown = parser.add_argument_group("output")
    add = shown.add_argument
    add("--markdown", action="store_true", help="print Markdown")
    add("--json", type=Path, help="write all figures to a file")
    add("--plot", type=Path, help="write a picture")
    return parser


def _ratios(text: str) -> tuple[float, ...]:
    try:
        return tuple(validate_keep_ratio(float(part)) for part in text.split(","))
    except InvalidField as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _size(text: str) -> tuple[int, int]:
    width, height = (count(side) for side in text.split("x"))
    return width, height


def _video(text: str) -> Video:
    return Video(*map(count, text.split("x")))


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError("must be above 0")
    return value


if __name__ == "__main__":
    sys.exit(main())
