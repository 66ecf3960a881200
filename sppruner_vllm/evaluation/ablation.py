"""`python -m sppruner_vllm.evaluation.ablation`: what each step of focus_context is worth on the demo's exam.

Every step is taken out in turn, at every ratio, on the same questions; differences are paired.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from rich.progress import Progress

from sppruner_vllm.demo import places
from sppruner_vllm.demo_model import CHECKPOINT
from sppruner_vllm.reduction import FocusContextParams

from .asking import Manner
from .bootstrap import Bootstrap, Interval, Scores
from .conditions import DEFAULT_RATIOS, FULL, Condition
from .dataset import DEMO, load_dataset
from .demo_dataset import TUNING_SEED
from .engineless import EnginelessAsker, Variant
from .questions import DatasetError, Question
from .scoring import score

SHIPPED: Final = "as shipped"
STRAY: Final = "What is the weather like on the moon tonight?"
"""A question about nothing in any scene."""

_P: Final = FocusContextParams()
VARIANTS: Final[Mapping[str, Variant]] = {
    SHIPPED: Variant(),
    "no relevance": Variant(params=replace(_P, relevance=False)),
    "no relevance, echoes not discounted": Variant(params=replace(_P, relevance=False, echo_discount=0.0)),
    "no relevance, no far echoes": Variant(params=replace(_P, relevance=False, echo_far=0.0)),
    "no relevance, saliency as it is": Variant(params=replace(_P, relevance=False, blind_power=1.0)),
    "no relevance, half of it scanned": Variant(params=replace(_P, relevance=False, scan_share=0.5)),
    "no relevance, ranked before the merger": Variant(params=replace(_P, relevance=False), patches=True),
    "ranked before the merger": Variant(patches=True),
    "no gate": Variant(params=replace(_P, gate=False)),
    "no smoothing": Variant(params=replace(_P, smoothing=False)),
    "all words heard": Variant(params=replace(_P, text_keep=1.0)),
    "query not centred": Variant(centred=False),
    "saliency from attention too": Variant(attention=True),
    "saliency from attention alone": Variant(params=replace(_P, attention_share=1.0), attention=True),
    "echoes not discounted": Variant(params=replace(_P, echo_discount=0.0)),
    "no far echoes": Variant(params=replace(_P, echo_far=0.0)),
    "saliency as it is": Variant(params=replace(_P, blind_power=1.0)),
    "relevance as it is": Variant(params=replace(_P, relevance_power=1.0)),
    "relevance counts twice": Variant(params=replace(_P, relevance_weight=2.0)),
    "half of it scanned": Variant(params=replace(_P, scan_share=0.5)),
    "no scan, no quota": Variant(params=replace(_P, focus_mass=1.0, quota_share=0.0)),
    "no surroundings": Variant(params=replace(_P, surroundings=0.0)),
    "no saliency in the context": Variant(params=replace(_P, context_saliency=0.0)),
    "no quota": Variant(params=replace(_P, quota_share=0.0)),
    "raster scan": Variant(params=replace(_P, curve="raster")),
    "boustrophedon scan": Variant(params=replace(_P, curve="boustrophedon")),
    "merged into anchors, half": Variant(merge=0.5),
    "merged into anchors, a tenth": Variant(merge=0.1),
    **{f"chosen by layer {layer}'s attention": Variant(probe=layer) for layer in (1, 2, 3)},
    "stray query": Variant(query=STRAY),
    "stray query, no gate": Variant(params=replace(_P, gate=False), query=STRAY),
}
"""Each differs from what is shipped in one step; the last two ask whether the gate protects."""


def run(
    asker: EnginelessAsker,
    questions: Sequence[Question],
    variants: Mapping[str, Variant],
    ratios: Sequence[float],
    resamples: int,
) -> dict[str, dict[float, tuple[Interval, Interval]]]:
    """Per variant and ratio: accuracy relative to the full pictures, and its difference to the first variant."""
    draws = Bootstrap([question.group or question.id for question in questions], resamples)
    found: dict[str, dict[float, tuple[Interval, Interval]]] = {name: {} for name in variants}

    def marks(condition: Condition, variant: Variant) -> Scores:
        answers = asker.ask_varied(questions, condition, variant)
        return np.array([score(q.metric, answer.text, q.answers) for answer, q in zip(answers, questions, strict=True)])

    with Progress() as progress:
        bar = progress.add_task("examining", total=len(variants) * len(ratios) + 1)
        full = marks(FULL, Variant())
        progress.advance(bar)
        for ratio in ratios:
            first = None
            for name, variant in variants.items():
                scores = marks(Condition("focus_context", ratio), variant)
                first = scores if first is None else first
                found[name][ratio] = draws.relative(scores, full), draws.difference(scores, first)
                progress.advance(bar)
    return found


def table(found: Mapping[str, Mapping[float, tuple[Interval, Interval]]], ratios: Sequence[float]) -> str:
    """Markdown: relative accuracy in per cent; behind it, for every variant but the first, the difference in points."""
    lines = [
        "| variant | " + " | ".join(f"{ratio:.1%} kept" for ratio in ratios) + " |",
        "|---" * (len(ratios) + 1) + "|",
    ]
    for name, row in found.items():
        cells = [_cell(*row[ratio], first=name == next(iter(found))) for ratio in ratios]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(relative: Interval, difference: Interval, *, first: bool) -> str:
    share = f"{100 * (relative.value or 0):.1f}"
    if first or difference.value is None:
        return f"**{share}**"
    mark = {"win": " ▲", "loss": " ▼", "tie": ""}[difference.verdict]
    return f"{share} ({100 * difference.value:+.1f}{mark})"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sppruner_vllm.evaluation.ablation", description=__doc__)
    parser.add_argument("--model", type=Path, default=CHECKPOINT, help="default: %(default)s")
    parser.add_argument("--limit", type=int, default=1050, help="questions; default: %(default)s")
    parser.add_argument("--seed", type=int, default=TUNING_SEED, help="of the exam; default: the one used for tuning")
    parser.add_argument("--resamples", type=int, default=2000, help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=places.CACHE / "ablation", help="folder; default: %(default)s")
    options = parser.parse_args()
    try:
        questions = load_dataset(DEMO, options.limit, options.seed)
    except DatasetError as problem:
        sys.exit(f"{problem}")
    asker = EnginelessAsker(str(options.model), Manner(max_tokens=6))
    found = run(asker, questions, VARIANTS, DEFAULT_RATIOS, options.resamples)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "ablation.md").write_text(table(found, DEFAULT_RATIOS) + "\n")
    figures = {
        name: {
            str(ratio): {"relative": _plain(one), "difference": _plain(other)} for ratio, (one, other) in row.items()
        }
        for name, row in found.items()
    }
    facts = {"seed": options.seed, "questions": len(questions), "resamples": options.resamples}
    (options.out / "ablation.json").write_text(json.dumps({**facts, "variants": figures}, indent=1) + "\n")
    print(table(found, DEFAULT_RATIOS))


def _plain(interval: Interval) -> list[float | None]:
    return [interval.value, interval.low, interval.high]


if __name__ == "__main__":
    main()
