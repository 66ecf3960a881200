"""The figures as Markdown, as they stand in docs/use/performance.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sppruner_vllm.evaluation.markdown import markdown_table

from .arms import Arm
from .models import BenchModel, shares
from .rounds import NEW, SECOND, SEVERAL, THIRD, TURN
from .summary import Results, Spread, Timing

_ASKED = (SECOND, THIRD, TURN, SEVERAL)
_LATER = (SECOND, THIRD, TURN)


def report(results: Mapping[BenchModel, Results], facts: Sequence[str], left_out: Mapping[str, Sequence[str]]) -> str:
    """All tables.

    Args:
        results: per model. facts: lines on machine, date and versions. left_out: switches that an arm lacked, by name.
    """
    parts = ["# Against stock vLLM", *facts]
    parts += [f"Not run: {name}, for want of {', '.join(switches)}." for name, switches in left_out.items()]
    for model, found in results.items():
        parts += [f"## {model.title}", _shares(model, found)]
        parts += ["### First token, one user", _timings(found), "### Where a new picture's seconds go", _parts(found)]
        parts += ["### Prompt tokens that a later question computes, round by round", _computed(found)]
        if (rows := _crowd(found)) is not None:
            parts += [f"### Most requests at once in {model.blocks - 1} blocks of KV cache", rows]
        if users := found.users:
            parts += [f"### {', '.join(map(str, users))} users at once", _load(found, users)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _shares(model: BenchModel, found: Results) -> str:
    stock = found.parts(found.arms[0])
    measured = stock.encoder / (stock.encoder + stock.language_model)
    text = (
        f"One picture of {model.side} by {model.side} pixels, {found.visual_tokens} visual tokens, and "
        f"{found.text_tokens} tokens of text. The encoder takes {_percent(measured)} of encoder and language model."
    )
    if (counted := shares(model, found.text_tokens)) is not None:
        real, here = map(_percent, counted)
        text += f" Its share of the operations: {real} in the real model, {here} in this one."
    return text


def _timings(found: Results) -> str:
    titles = ["arm", "visual tokens", "new picture, s", "times as fast", "ideal", "of the ideal"]
    titles += [title for name in _ASKED for title in (f"{name}, s", "times as fast")]
    return markdown_table(titles, (_timing_row(found, arm) for arm in found.arms))


def _timing_row(found: Results, arm: Arm) -> list[str]:
    row = [arm.name, str(found.retained(arm)) + ("" if found.kv_is_exact(arm) else " (KV differs)")]
    new = found.timing(NEW, arm)
    row += ["—"] * 4 if new is None else [_seconds(new), _spread(new.speedup), *_ideal(new)]
    for name in _ASKED:
        timing = found.timing(name, arm)
        row += ["—", "—"] if timing is None else [_seconds(timing), _spread(timing.speedup) + _reached(timing)]
    return row


def _parts(found: Results) -> str:
    def row(arm: Arm) -> list[str]:
        parts = found.parts(arm)
        seconds = (parts.processing, parts.encoder, parts.selection, parts.language_model, parts.decode)
        return [arm.name, *(f"{1000 * value:.1f}" for value in seconds)]

    titles = ["ms, median", "processing", "encoder", "selection", "language model", "a decode step"]
    return markdown_table(titles, map(row, found.arms))


def _computed(found: Results) -> str:
    def row(arm: Arm) -> list[str]:
        return [arm.name, *(", ".join(map(str, found.computed(name, arm))) for name in _LATER)]

    return markdown_table(["arm", *_LATER], map(row, found.arms))


def _crowd(found: Results) -> str | None:
    rows = [
        [arm.name, str(crowd.prompt), str(crowd.blocks), str(crowd.most), f"{crowd.growth:.2f}"]
        for arm in found.arms
        if (crowd := found.crowd(arm)) is not None
    ]
    titles = ["arm", "tokens of a prompt", "blocks", "requests at once", "times stock's"]
    return markdown_table(titles, rows) if rows else None


def _load(found: Results, users: Sequence[int]) -> str:
    titles = ["users", "arm", "requests/s", "times stock's", "ideal", "of the ideal", "tokens/s"]
    titles += ["TTFT, s", "p99, s", "sooner than stock"]
    rows = []
    for number in users:
        for arm in found.arms:
            if (load := found.throughput(number, arm)) is None:
                continue
            ideal = ["—" if value is None else f"{value.median:.2f}" for value in (load.ideal, load.reached)]
            rates = [f"{load.requests.median:.2f}", _spread(load.gain), *ideal, f"{load.tokens.median:.1f}"]
            first = [f"{load.first.median:.2f}", f"{load.slow.median:.2f}", _spread(load.sooner)]
            rows.append([str(number), arm.name, *rates, *first])
    return markdown_table(titles, rows)


def _ideal(timing: Timing) -> list[str]:
    if timing.ideal is None or timing.reached is None:
        return ["—", "—"]
    return [f"{timing.ideal.median:.2f}", _percent(timing.reached.median)]


def _reached(timing: Timing) -> str:
    return "" if timing.reached is None else f", {_percent(timing.reached.median)} of the ideal"


def _seconds(timing: Timing) -> str:
    return f"{timing.seconds.median:.3f}"


def _spread(spread: Spread) -> str:
    return f"{spread.median:.2f} [{spread.least:.2f}, {spread.most:.2f}]"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
