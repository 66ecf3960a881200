"""Two tensor-parallel ranks of each family: they keep the same rows, and answer as transformers does on those rows.

Not compared with one process: the ranks add up in another order, and the selection may then fall otherwise where two
rows are as good as each other. tests/engine/test_scale_out.py starts two ranks through our server.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from beds import Bed
from cases import MIXED, REDUCED
from engines import TOKENS, Answer, same_answer
from reference import OnRows, Reference
from sppruner_vllm.planning.plan import retained_tokens
from sppruner_vllm.told import Told
from videos import Kept, Shown, VideoReference

PROGRAM = Path(__file__).with_name("family_on_two_ranks.py")
TOLERANCE = 2e-3
"""Largest difference of a logit, float32 on both sides, different kernels; the logits span some units."""

# Two workers on a machine with one memory node: without the first variable the CPU build refuses them.
ENVIRONMENT = {
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
    # What PyTorch 2.13 compiles for AVX2 alone lets ids of the other rank through, in stock vLLM 0.32 as well.
    "TORCHDYNAMO_DISABLE": "1",
    "VLLM_ALLOW_INSECURE_SERIALIZATION": "1",
    "PYTHONPATH": os.pathsep.join([str(PROGRAM.parent), str(PROGRAM.parent.parent)]),
}

Said = dict[tuple[int, float], tuple[Answer, list[list[list[int]]], list[list[int]]]]
"""By case and ratio: the answer, the kept indices per rank and image, and per rank the pictures of each encoder run."""


Fewer = dict[int, tuple[Answer, list[tuple[list[list[int]], list[Tensor]]]]]
"""By case, of an encoder that not all tokens go through: the answer, and per rank the kept indices and all rows."""


Videos = tuple[Shown, Answer, list[Kept]]
"""A prompt with videos, its answer, and what each rank kept."""

Of = tuple[list[Told], list[tuple[list[list[int]], list[int]]]]
"""What is told of the pictures of a prompt, and per rank the kept indices and the pictures of each encoder run."""

Both = tuple[Said, Fewer, list[list[Tensor]], Videos | None, Of | None]


@pytest.fixture(scope="module")
def both(family: Bed, family_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Both:
    out = tmp_path_factory.mktemp("ranks") / "said.pt"
    command = [sys.executable, str(PROGRAM), family.name, str(family_model), str(out)]
    done = subprocess.run(command, env=os.environ | ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return torch.load(out, weights_only=False)


@pytest.fixture(scope="module")
def said(both: Both) -> Said:
    return both[0]


def test_both_ranks_keep_the_same_rows(family: Bed, said: Said) -> None:
    for (index, ratio), (_, ranks, _) in said.items():
        assert ranks[0] == ranks[1]
        totals = [family.tokens(size) for _, sizes in REDUCED[index].turns for size in sizes]
        expected = [retained_tokens(total, ratio) for total in totals if ratio < 1]
        assert [len(image) for image in ranks[0]] == expected


@pytest.mark.parametrize("index", range(len(REDUCED)))
def test_they_answer_like_transformers(family: Bed, said: Said, family_reference: Reference, index: int) -> None:
    for ratio in (1.0, family.ratios[1]):
        answer, ranks, _ = said[index, ratio]
        tokens, logits = family_reference.answer(REDUCED[index], ranks[0] or None, TOKENS)
        same_answer(answer, tokens, logits)


def test_both_ranks_encode_a_picture_once(family: Bed, said: Said) -> None:
    for index, case in enumerate(REDUCED):
        pictures = sum(len(sizes) for _, sizes in case.turns)
        assert said[index, 1.0][2] == [[pictures]] * 2
        assert said[index, family.ratios[1]][2] == [[]] * 2


def test_behind_an_encoder_that_not_all_tokens_go_through_they_answer_like_transformers(
    family: Bed, family_model: Path, both: Both
) -> None:
    fewer, reference = both[1], OnRows(family_model)
    assert len(fewer) == (0 if family.block is None else len(MIXED))
    for index, (answer, ranks) in fewer.items():
        (kept, reference.rows), (_, others) = ranks
        assert ranks[0][0] == ranks[1][0]
        assert all(torch.equal(one, other) for one, other in zip(reference.rows, others, strict=True))
        tokens, logits = reference.answer(MIXED[index], kept, TOKENS)
        same_answer(answer, tokens, logits)


def test_what_is_told_behind_such_an_encoder_is_what_both_ranks_kept(family: Bed, both: Both) -> None:
    assert (both[4] is not None) == (family.block is not None)
    if both[4] is None:
        return
    told, ((kept, _), (others, _)) = both[4]
    assert kept == others
    assert sorted(one.kept for one in told) == sorted(kept)
    assert all(one.through is not None and len(one.through) < len(one.saliency) for one in told)


@torch.inference_mode()
def test_both_ranks_read_a_question_as_transformers_does(family: Bed, family_reference: Reference, both: Both) -> None:
    if not family.reads:
        assert both[2] is None
        return
    config, language = family_reference.model.config, family_reference.model.model.language_model
    lead = getattr(config, "vision_end_token_id", None) or config.get_text_config().bos_token_id
    first, second = both[2]
    for place, text in enumerate(2 * [[5, 6, 7, 8, 9], [11, 12, 13]]):
        states = language(torch.tensor([[lead, *text]]), use_cache=False, output_hidden_states=True).hidden_states
        wanted = states[round(0.5 * len(language.layers))][0, 1:]
        assert torch.equal(first[place], second[place])
        assert (first[place] - wanted).norm() < 1e-4 * wanted.norm()


def test_both_ranks_keep_the_same_of_videos_and_answer_like_transformers(
    family: Bed, family_model: Path, both: Both
) -> None:
    assert (both[3] is not None) == family.videos
    if both[3] is None:
        return
    asked, answer, ranks = both[3]
    assert ranks[0] == ranks[1]
    assert len(ranks[0].videos) == asked.kinds.count("video")
    tokens, logits = VideoReference(family_model).answer(asked, ranks[0], TOKENS)  # type: ignore[arg-type]
    same_answer(answer, tokens, logits)


def test_other_rows_would_have_shown(family: Bed, said: Said, family_reference: Reference) -> None:
    """Guards the comparison: a single row of one image exchanged for another."""
    answer, ranks, _ = said[0, family.ratios[1]]
    (kept,) = ranks[0]
    others = sorted(set(range(family.tokens(REDUCED[0].turns[0][1][0]))).difference(kept))
    exchanged = sorted([*kept[1:], others[len(others) // 2]])
    _, logits = family_reference.answer(REDUCED[0], [exchanged], TOKENS)
    assert (answer.logits[0] - logits[0]).abs().max() > 2 * TOLERANCE
