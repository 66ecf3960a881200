"""The beds themselves: stock vLLM and transformers same_answer on them, and the reference drops tokens soundly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from beds import Bed, build_llava
from cases import FAMILY_STOCK, REDUCED
from engines import TOKENS, same_answer
from reference import Reference

TOLERANCE = 2e-3
"""Largest difference of a logit, float32 on both sides, different kernels; the logits span some units."""


def test_stock_vllm_serves_the_bed_with_its_own_class(family: Bed, family_stock: dict[str, Any]) -> None:
    assert family_stock["model_class"] == family.upstream


@pytest.mark.parametrize("index", range(len(FAMILY_STOCK)))
def test_stock_vllm_answers_like_transformers(
    family_stock: dict[str, Any], family_reference: Reference, index: int
) -> None:
    answer = family_stock["answers"][index]
    tokens, logits = family_reference.answer(FAMILY_STOCK[index], None, TOKENS)
    same_answer(answer, tokens, logits)


def test_a_picture_has_the_tokens_the_bed_says(family: Bed, family_stock: dict[str, Any], family_model: Path) -> None:
    placeholder = AutoTokenizer.from_pretrained(family_model).convert_tokens_to_ids(family.placeholder)
    for case, answer in zip(FAMILY_STOCK, family_stock["answers"], strict=True):
        sizes = [size for _, pictures in case.turns for size in pictures]
        assert answer.prompt_ids.count(placeholder) == sum(map(family.tokens, sizes))


def test_answers_differ_from_picture_to_picture(family_stock: dict[str, Any]) -> None:
    first = [tuple(answer.tokens) for answer in family_stock["answers"]]
    assert len(set(first)) == len(first)


def test_dropping_rows_is_the_same_as_hiding_them(family: Bed, family_reference: Reference) -> None:
    """Guards the reference: the whole prompt, with dropped tokens hidden from all others, gives the same logits."""
    case = REDUCED[1]
    kept = [list(range(3, family.tokens(size), 7)) for size in case.turns[0][1]]
    _, logits = family_reference.answer(case, kept, 1)
    prompt = family_reference.prompt(case, kept)
    length = prompt.keep.numel()
    seen = torch.ones(length, length, dtype=torch.bool).tril() & (prompt.keep | torch.eye(length, dtype=torch.bool))
    hidden = torch.zeros(length, length).masked_fill(~seen, torch.finfo(torch.float32).min)
    with torch.inference_mode():
        output = family_reference.model.model.language_model(
            inputs_embeds=prompt.embeddings,
            position_ids=prompt.positions,
            attention_mask=hidden[None, None],
            **prompt.deepstack(torch.ones(length, dtype=torch.bool)),
        )
        whole = family_reference.model.lm_head(output.last_hidden_state[0, -1])
    assert (whole - logits[0]).abs().max() < TOLERANCE


@pytest.mark.parametrize(
    ("legacy", "text", "pieces"),
    [
        (True, "USER: <image>\nis", "<s> ▁US ER : ▁ <image> ▁ <0x0A> i s"),
        (False, "USER: <image>\nis", "<s> ▁US ER : ▁ <image> <0x0A> i s"),
        (True, "the ASSISTANT: yes", "<s> ▁the ▁A SS IST ANT : ▁yes"),
        (True, "the\nASSISTANT: yes", "<s> ▁the <0x0A> ASS IST ANT : ▁yes"),
        (True, "no</s>USER: is", "<s> ▁no </s> ▁US ER : ▁is"),
        (False, "no</s>USER: is", "<s> ▁no </s> US ER : ▁is"),
    ],
)
def test_llavas_pieces_depend_on_what_stands_before(legacy: bool, text: str, pieces: str, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(build_llava(tmp_path / "model", legacy=legacy))
    assert tokenizer.convert_ids_to_tokens(tokenizer.encode(text)) == pieces.split()


def test_a_bed_is_built_alike_each_time(family: Bed, family_model: Path, tmp_path: Path) -> None:
    again = family.build(tmp_path / "model")
    names = sorted(file.name for file in family_model.iterdir())
    assert names == sorted(file.name for file in again.iterdir())
    assert all((family_model / name).read_bytes() == (again / name).read_bytes() for name in names)
