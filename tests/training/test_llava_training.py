"""The LLaVA bed's training: positions on a line as transformers counts them, eyes that learn; stopped, it goes on."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from transformers import LlavaForConditionalGeneration

from sppruner_vllm.demo.forward import MEAN, STD, decode
from sppruner_vllm.demo.training.export import export_llava
from sppruner_vllm.demo.training.lessons import lesson
from sppruner_vllm.demo.training.llava import LLAVA_STAGES, READ, SEE, TOGETHER, on_a_line
from sppruner_vllm.demo.training.llava_student import GRID, SIDE, look, new_llava_student
from sppruner_vllm.demo.training.packing import IGNORED
from sppruner_vllm.demo.training.run import train

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def student():
    return new_llava_student(0)


def one_picture(dice, done):
    batch = lesson(dice, 1, SIDE, pictures=1, questions=3, cut_away=0)
    return replace(batch, packed=on_a_line(batch.packed))


def light(stage):
    return replace(stage, draw=one_picture)


@torch.no_grad()
@pytest.mark.parametrize("pictures", [1, 2])
def test_a_packed_question_equals_the_question_asked_alone(student, pictures):
    batch = lesson(random.Random(1), 1, SIDE, pictures=pictures, questions=2, cut_away=0)
    packed = on_a_line(batch.packed)
    embedded = student.model.get_input_embeddings()(packed.ids)
    embedded[packed.visual] = look(student.model, batch.pictures).flatten(0, 1)
    ours = student.model.lm_head(decode(student.language, embedded, packed.positions, packed.mask)[-1])

    alone = (packed.question[0] == 0) | (packed.question[0] == 2)
    first_answer = int(((packed.question[0] == 2) & (packed.targets[0] != IGNORED)).nonzero()[0, 0])
    alone[first_answer + 1 :] = False
    mean, std = (torch.tensor(value).view(3, 1, 1) * 255 for value in (MEAN, STD))
    theirs = student.model(input_ids=packed.ids[:, alone], pixel_values=(batch.pictures - mean) / std).logits
    torch.testing.assert_close(ours[0, first_answer], theirs[0, -1], atol=1e-3, rtol=1e-3)


def test_nothing_is_missing_from_a_lesson_and_every_picture_has_one_size():
    for stage in LLAVA_STAGES.values():
        for number in range(4):
            batch = stage.draw(random.Random(number), number / 4)
            assert batch.grid == GRID
            assert not batch.absent.any()
            assert (batch.pictures is None) == (stage is READ)


def test_a_stage_that_was_stopped_goes_on_as_if_it_had_not(tmp_path):
    stage = light(TOGETHER)
    for folder in ("whole", "parts"):
        for before in (SEE, READ):
            train(light(before), tmp_path / folder, steps=1)
    train(stage, tmp_path / "whole", steps=3)
    asked = iter([False, True])
    train(stage, tmp_path / "parts", steps=3, stopped=lambda: next(asked))
    file = f"{TOGETHER.name}.pt"
    assert torch.load(tmp_path / "parts" / file, weights_only=True)["step"] == 2
    train(stage, tmp_path / "parts", steps=3)
    whole, parts = (torch.load(tmp_path / folder / file, weights_only=True)["weights"] for folder in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)

    export_llava(tmp_path / "whole", tmp_path / "model")
    named = load_file(tmp_path / "model" / "model.safetensors")
    kinds = {name.split(".")[0] for name in named}
    assert kinds == {"language_model", "multi_modal_projector", "vision_tower"}
    read = LlavaForConditionalGeneration.from_pretrained(tmp_path / "model", dtype=torch.bfloat16)
    made = dict(read.named_parameters())
    assert all(
        torch.equal(made[name.removeprefix("model.")], whole[name].bfloat16()) for name in whole if "model." in name[:6]
    )


def test_the_encoder_comes_to_see(tmp_path):
    begun = train(light(SEE), tmp_path, steps=24, until=1)
    ended = train(light(SEE), tmp_path, steps=24)
    assert ended["read"] < begun["read"] * 0.95
