"""Stock, every ratio and every cut in turn, round by round, beside what would be ideal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sppruner_vllm.evaluation.prefill_flops import prefill_flops

from .bench import Bench
from .device import forget_peak, peak
from .model import Model
from .shapes import AFTER, BEFORE, Work
from .summary import summary


@dataclass(frozen=True, slots=True)
class Timing:
    """A prefill at one keep ratio.

    survivors: tokens of each picture that go on behind the cut, or None for a whole encoder.
    seconds: of each run. ideal: what it would take if the selection were free and each part as fast as its operations
        are few, from the parts of the same rounds. encoder, language_model: parts of the stock run.
    peak_bytes: most device memory, None on a CPU.
    """

    work: Work
    keep_ratio: float
    kept: int
    survivors: int | None
    seconds: list[float]
    ideal: list[float]
    encoder: list[float]
    language_model: list[float]
    peak_bytes: int | None


def time_prefill(model: Model, work: Work, ratios: Sequence[float], rounds: int) -> list[Timing]:
    """Stock, every ratio, and every ratio with a cut in turn, round by round, after a round that does not count."""
    bench = Bench(model, work)
    variants: list[tuple[float, int | None]] = [(ratio, None) for ratio in ratios]
    variants += [(ratio, work.survivors(ratio)) for ratio in ratios if work.survivors(ratio) < work.tokens]
    seconds: dict[tuple[float, int | None], list[float]] = {variant: [] for variant in variants}
    peaks: dict[tuple[float, int | None], int | None] = {}
    encoder, language_model = [], []
    for _ in range(rounds + 1):
        for ratio, left in variants:
            forget_peak(model.device)
            seconds[ratio, left].append(bench.whole(None if ratio >= 1 else work.kept(ratio), left))
            peaks[ratio, left] = peak(model.device)
        encoder.append(bench.encoder())
        language_model.append(bench.language_model())
    encoder, language_model = encoder[1:], language_model[1:]
    found = []
    for (ratio, left), runs in seconds.items():
        kept = work.kept(ratio)
        first, second = _share_of_encoder(model, work, left), _operations(model, kept) / _operations(model, work.tokens)
        ideal = [first * one + second * other for one, other in zip(encoder, language_model, strict=True)]
        highest = peaks[ratio, left]
        found.append(Timing(work, ratio, kept, left, runs[1:], ideal, encoder, language_model, highest))
    return found


def _share_of_encoder(model: Model, work: Work, survivors: int | None) -> float:
    tokens, shape = work.tokens, model.shape
    if survivors is None:
        return 1.0
    cut = shape.encoder_operations(tokens, survivors, work.cut_block)
    return cut / shape.encoder_operations(tokens, tokens, work.cut_block)


def _operations(model: Model, visual: int) -> int:
    return prefill_flops(model.shape.language, BEFORE + visual + AFTER)


def time_selection(model: Model, work: Work, ratios: Sequence[float], rounds: int) -> Iterator[dict[str, Any]]:
    """The selection by itself, at each ratio below 1."""
    bench = Bench(model, work)
    for ratio in ratios:
        if ratio >= 1:
            continue
        kept = work.kept(ratio)
        images = bench.selection(kept)[0]
        runs = [bench.selection(kept)[1] for _ in range(rounds)]
        yield {**asdict(work), "images": images, "keep_ratio": ratio, "kept": kept, **summary(runs)}
