"""Puts a bed's cases to two tensor-parallel ranks, and writes the answers and what each rank kept."""

from __future__ import annotations

import importlib
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from beds import BEDS
from cases import MIXED, REDUCED, Case
from engines import ask, encoder_runs, operated_with, recorded_rows, start_engine
from recording import recorded_selections
from sppruner_vllm.request.handed_over import TELLING, Telling
from sppruner_vllm.told import TELL, Told
from videos import FRAMES, Kept, Shown, ask_shown, recorded_kept

_recording = ExitStack()
_kept: list[list[int]] = []
_runs: list[int] = []
_rows: list[torch.Tensor] = []
_videos = Kept([], [])


def record(model: Any) -> None:
    """On a rank: note what it keeps and encodes, from now on."""
    global _kept, _runs, _rows, _videos
    _videos = _recording.enter_context(recorded_kept())
    _rows = _recording.enter_context(recorded_rows(model))
    _kept = _recording.enter_context(recorded_selections())
    _runs = _recording.enter_context(encoder_runs(model))


def recorded(_: Any) -> tuple[list[list[int]], list[int]]:
    """On a rank: what it has kept since it was last asked, and pictures in each run of its encoder."""
    kept, runs = list(_kept), list(_runs)
    for noted in (_kept, _runs, _rows):
        noted.clear()
    return kept, runs


def recorded_videos(_: Any) -> Kept:
    """On a rank: what it has kept of the pictures and videos since it was last asked."""
    kept = Kept(list(_videos.pictures), list(_videos.videos))
    _videos.pictures.clear()
    _videos.videos.clear()
    return kept


def recorded_with_rows(model: Any) -> tuple[list[list[int]], list[torch.Tensor]]:
    """On a rank: what it has kept since it was last asked, and the rows of the pictures it has encoded."""
    rows = [image.cpu() for image in _rows]
    return recorded(model)[0], rows


def told_of(llm: Any, case: Case, ratio: float) -> list[Told]:
    """What the first rank tells of a case's pictures."""
    telling = Telling("two ranks")
    ask(llm, [case], ratio, tokens=1, **{TELLING: telling})
    names = [telling.name_of(place) for place in range(len(case.images()))]
    found, nothing = llm.collective_rpc(TELL, args=(names,))
    assert nothing == {}
    return [Told.from_message(found[name]) for name in names]


def read_questions(model: torch.nn.Module) -> list[torch.Tensor]:
    """On a rank: states of two questions, read in one pass and one by one."""
    texts = [torch.tensor([5, 6, 7, 8, 9]), torch.tensor([11, 12, 13])]
    with operated_with(QUESTION_DEPTH="0.5"), torch.inference_mode():
        read: Any = model._selector._reader()
        return [state for together in (True, False) for state in read.states(texts, together=together)]


def main(name: str, model: Path, out: Path) -> None:
    bed = BEDS[name]
    llm = start_engine(
        model,
        limit_mm_per_prompt=dict(bed.limits),
        tensor_parallel_size=2,
        distributed_executor_backend="mp",
    )
    # By the name under which the ranks can import it, which "__main__" is not.
    rank = importlib.import_module("family_on_two_ranks")
    llm.apply_model(rank.record)
    said = {}
    for index, case in enumerate(REDUCED):
        for ratio in (1.0, bed.ratios[1]):
            (answer,) = ask(llm, [case], ratio)
            kept, runs = zip(*llm.apply_model(rank.recorded), strict=True)
            said[index, ratio] = answer, list(kept), list(runs)
    shown_videos = None
    if bed.videos:
        llm.apply_model(rank.recorded_videos)
        asked = Shown(("video", "image", "video"), FRAMES[name], 30_000)
        shown_videos = asked, ask_shown(llm, asked, bed.ratios[1]), llm.apply_model(rank.recorded_videos)
        llm.apply_model(rank.recorded)
    fewer, told = {}, None
    if bed.block is not None:
        with operated_with(ENCODER_CUT="2", ENCODER_CUT_BLOCK=str(bed.block), SKIP_REPEATS="1"):
            for index, case in enumerate(MIXED):
                (answer,) = ask(llm, [case], bed.ratios[1])
                fewer[index] = answer, llm.apply_model(rank.recorded_with_rows)
            told = told_of(llm, MIXED[1], bed.ratios[1]), llm.apply_model(rank.recorded)
    read = llm.apply_model(rank.read_questions) if bed.reads else None
    torch.save((said, fewer, read, shown_videos, told), out)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
