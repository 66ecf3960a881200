"""`python -m sppruner_vllm.evaluation.ablation`: what each step of focus_context is worth on the demo's exam.

Every step is taken out in turn, at every ratio, on the same questions; differences are paired. Answers are kept: a run
that is stopped writes the table of the questions it came to, and the same command goes on.
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
from rich.console import Console
from rich.progress import Progress

from sppruner_vllm.demo import places
from sppruner_vllm.demo_model import CHECKPOINT
from sppruner_vllm.reading.captions import USUAL_DEPTH
from sppruner_vllm.reduction import FocusContextParams

from .asking import Answer, AskingFailed, Manner, Usable
from .bootstrap import Bootstrap, Interval, Scores
from .conditions import DEFAULT_RATIOS, FULL, Condition, conditions
from .dataset import DEMO, load_dataset
from .demo_dataset import TUNING_SEED
from .engineless import EnginelessAsker, Variant
from .questions import DatasetError, Question
from .records import Header, Kept, Store
from .report import ANSWERS
from .runner import Run

SHIPPED: Final = "as shipped"
WORDS_ALONE: Final = "the question's words alone"
STRAY: Final = "What is the weather like on the moon tonight?"
"""A question about nothing in any scene."""

_P: Final = FocusContextParams()
VARIANTS: Final[Mapping[str, Variant]] = {
    SHIPPED: Variant(),
    WORDS_ALONE: Variant(),
    "the layers' reading alone": Variant(words=False),
    "no relevance": Variant(params=replace(_P, relevance=False)),
    "no relevance, echoes not discounted": Variant(params=replace(_P, relevance=False, echo_discount=0.0)),
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


Found = dict[str, dict[float, tuple[Interval, Interval]]]
"""Per variant and ratio: accuracy relative to the full pictures, and its difference to the first variant."""


class Varied:
    """Asks under variants of the selection; a condition's method is the name of one."""

    def __init__(self, asker: EnginelessAsker, variants: Mapping[str, Variant], depth: float) -> None:
        """Args: depth: share of the language model's layers that read the questions of all variants but one."""
        self._asker = asker
        self._variants = {
            name: variant if name == WORDS_ALONE else replace(variant, depth=depth)
            for name, variant in variants.items()
        }
        self.model, self.stamp = asker.model, asker.stamp
        self.facts: Mapping[str, str] = {"backend": f"bare, questions read by {depth:g} of the layers"}

    def usable(self, question: Question, wanted: Sequence[Condition]) -> Usable:
        return Usable(list(wanted))

    def ask(self, questions: Sequence[Question], condition: Condition) -> list[Answer]:
        if condition == FULL:
            return self._asker.ask(questions, FULL)
        asked = Condition("focus_context", condition.ratio)
        return self._asker.ask_varied(questions, asked, self._variants[condition.method])


def ask(every: Run, variants: Sequence[str], ratios: Sequence[float]) -> Header:
    """Ask what has no answer yet, or as much of it as there is time for until an interrupt."""
    wanted = conditions(variants, ratios)
    with Progress(console=Console(stderr=True)) as progress:
        missing = sum(len(names) for names in every.missing(wanted).values())
        bar = progress.add_task("examining", total=missing)
        return every.ask_missing(wanted, lambda _, count: progress.advance(bar, count))


def compare(kept: Kept, variants: Sequence[str], ratios: Sequence[float], resamples: int) -> tuple[Found, int]:
    """The figures of all variants, and how many questions they are of: those answered under every condition.

    Raises:
        AskingFailed: there is no such question.
    """
    wanted = conditions(variants, ratios)
    of_full = [record for record in kept.records.values() if record.condition == FULL]
    whole = [one for one in of_full if all(kept.has(condition, one.question, one.content) for condition in wanted)]
    if not whole:
        raise AskingFailed("no question was answered under every variant yet; the same command goes on")

    def marks(condition: Condition) -> Scores:
        return np.array([kept.records[condition, one.question, one.content].score for one in whole])

    draws, full = Bootstrap([one.group for one in whole], resamples), marks(FULL)
    found: Found = {name: {} for name in variants}
    for ratio in ratios:
        first = marks(Condition(next(iter(variants)), ratio))
        for name in variants:
            scores = marks(Condition(name, ratio))
            found[name][ratio] = draws.relative(scores, full), draws.difference(scores, first)
    return found, len(whole)


def table(found: Mapping[str, Mapping[float, tuple[Interval, Interval]]], ratios: Sequence[float]) -> str:
    """Markdown: relative accuracy in per cent, and for every variant but the first the difference in points."""
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
    return f"{share} ({difference.points}{mark})"


def main() -> None:
    options = _parser().parse_args()
    variants = list(dict.fromkeys((SHIPPED, *(options.variants or VARIANTS))))
    manner = Manner(max_tokens=6, seed=options.seed)
    store = Store(options.out / ANSWERS)
    try:
        questions = load_dataset(DEMO, options.limit, options.seed)
        heard = frozenset().union(*(VARIANTS[name].taps for name in variants))
        asker = Varied(EnginelessAsker(str(options.model), manner, heard), VARIANTS, options.depth)
        every = Run(asker, manner, DEMO, questions, store)
        try:
            ask(every, variants, options.ratios)
        except KeyboardInterrupt:
            print("Stopped; the same command goes on.", file=sys.stderr)
        found, answered = compare(store.kept(every.key), variants, options.ratios, options.resamples)
    except (AskingFailed, DatasetError) as problem:
        sys.exit(f"{problem}")
    (options.out / "ablation.md").write_text(table(found, options.ratios) + "\n")
    figures = {
        name: {
            str(ratio): {"relative": _plain(one), "difference": _plain(other)} for ratio, (one, other) in row.items()
        }
        for name, row in found.items()
    }
    facts = {"seed": options.seed, "questions": answered, "resamples": options.resamples}
    (options.out / "ablation.json").write_text(json.dumps({**facts, "variants": figures}, indent=1) + "\n")
    print(table(found, options.ratios), f"\n{answered} questions")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sppruner_vllm.evaluation.ablation", description=__doc__)
    add = parser.add_argument
    add("--model", type=Path, default=CHECKPOINT, help="default: %(default)s")
    add(
        "--depth",
        type=float,
        default=USUAL_DEPTH,
        help="share of the layers that read the question; 0: its words alone",
    )
    add("--limit", type=int, default=1050, help="questions; default: %(default)s")
    add("--ratios", type=float, nargs="+", default=DEFAULT_RATIOS, help="default: %(default)s")
    add("--variants", nargs="+", choices=list(VARIANTS), metavar="NAME", help="beside what is shipped; default: all")
    add("--seed", type=int, default=TUNING_SEED, help="of the exam; default: the one used for tuning")
    add("--resamples", type=int, default=2000, help="default: %(default)s")
    add("--out", type=Path, default=places.CACHE / "ablation", help="folder; default: %(default)s")
    return parser


def _plain(interval: Interval) -> list[float | None]:
    return [interval.value, interval.low, interval.high]


if __name__ == "__main__":
    main()
