"""The demo model's training: the same arithmetic as transformers, the same prompts as serving, and steps that teach."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoProcessor

from sppruner_vllm.demo.checkpoint import save_checkpoint
from sppruner_vllm.demo.forward import decode, encode
from sppruner_vllm.demo.training.cutting import cut, whole
from sppruner_vllm.demo.training.lessons import lesson, practice
from sppruner_vllm.demo.training.losses import imagine, see
from sppruner_vllm.demo.training.packing import IGNORED, pack, token_ids, tokenizer
from sppruner_vllm.demo.training.run import train
from sppruner_vllm.demo.training.stages import FINISH, QUESTIONS, READ, REREAD, SEE, SMALL, STAGES, TOGETHER
from sppruner_vllm.demo.training.student import DEMO_SPEC, new_student
from sppruner_vllm.demo.vocabulary import SHAPES
from sppruner_vllm.demo.world.content import covered
from sppruner_vllm.demo.world.layout import TOKEN, draw_layout
from sppruner_vllm.demo.world.questions import Asked, askable
from sppruner_vllm.demo.world.scene import render

ASKED = [Asked("focus", "What colour is the star?", "red"), Asked("reading", "What is the printed number?", "47")]


@pytest.fixture(scope="module")
def student():
    return new_student(0)


@pytest.fixture(scope="module")
def processor(student, tmp_path_factory):
    folder = tmp_path_factory.mktemp("student") / "model"
    folder.mkdir()
    save_checkpoint(folder, DEMO_SPEC, student.model, tokenizer())
    student.model.float()
    return AutoProcessor.from_pretrained(folder)


def prompt(processor, pictures, text):
    content = [{"type": "image"} for _ in pictures] + [{"type": "text", "text": text}]
    chat = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    return processor(text=[chat], images=pictures, return_tensors="pt")


def picture(seed, size=(224, 224)):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8))


@torch.no_grad()
@pytest.mark.parametrize("size", [(224, 224), (252, 252), (196, 364)])
def test_encoding_equals_transformers(student, processor, size):
    pictures = [picture(0, size), picture(1, size)]
    inputs = prompt(processor, pictures, "What?")
    theirs = student.visual(inputs["pixel_values"], inputs["image_grid_thw"]).pooler_output
    pixels = torch.from_numpy(np.stack([np.asarray(image) for image in pictures])).permute(0, 3, 1, 2)
    torch.testing.assert_close(encode(student.visual, pixels).flatten(0, 1), theirs, atol=1e-4, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("pictures", [1, 2])
def test_a_packed_question_equals_the_question_asked_alone(student, processor, pictures):
    """Ids, positions and logits of the last question in a pack are those of transformers for that question alone."""
    images = [picture(seed) for seed in range(pictures)]
    packed = pack([ASKED], grid=8, pictures=pictures)
    pixels = torch.from_numpy(np.stack([np.asarray(image) for image in images])).permute(0, 3, 1, 2)
    embedded = student.model.get_input_embeddings()(packed.ids)
    embedded[packed.visual] = encode(student.visual, pixels).flatten(0, 1)
    ours = student.model.lm_head(decode(student.language, embedded, packed.positions, packed.mask)[-1])

    inputs = prompt(processor, images, ASKED[1].text)
    theirs = student.model(**inputs).logits[0, -1]
    seen = (packed.question[0] == 0) | (packed.question[0] == 2)
    length = inputs["input_ids"].shape[1]
    assert packed.ids[0, seen][:length].tolist() == inputs["input_ids"][0].tolist()
    first_answer = ((packed.question[0] == 2) & (packed.targets[0] != IGNORED)).nonzero()[0, 0]
    torch.testing.assert_close(ours[0, first_answer], theirs, atol=1e-3, rtol=1e-3)


def test_targets_are_the_answers_and_the_end_of_turn():
    packed = pack([ASKED], grid=8, pictures=1)
    wanted = packed.targets[0][packed.targets[0] != IGNORED].tolist()
    assert wanted == [*token_ids("red<|im_end|>"), *token_ids("47<|im_end|>")]


def test_questions_do_not_see_each_other():
    packed = pack([ASKED], grid=8, pictures=1)
    first, second = ((packed.question[0] == number).nonzero().flatten() for number in (1, 2))
    assert not packed.mask[0, 0][second][:, first].any()
    assert packed.mask[0, 0][second][:, packed.visual[0]].all()


@torch.no_grad()
def test_imagined_tokens_without_noise_are_the_directions_of_what_is_shown(student):
    batch = lesson(random.Random(0), 2, 224, pictures=1, questions=3, drawn=False)
    tokens = imagine(student, batch, noise=0.0)
    torch.testing.assert_close(tokens @ student.directions.T, batch.shown, atol=1e-5, rtol=1e-5)


def test_pictures_of_a_lesson_are_its_scenes(student):
    batch = lesson(random.Random(0), 2, 224, pictures=2, questions=3)
    drawn = batch.pictures
    assert drawn.shape == (4, 3, 224, 224)
    assert np.array_equal(drawn[3].permute(1, 2, 0), np.asarray(render(batch.scenes[1][1])))
    assert see(student, batch).shape == (4, 64, DEMO_SPEC.hidden)


def test_what_was_first_seen_in_inference_mode_can_be_learnt_from(student):
    batch = lesson(random.Random(0), 1, 252, pictures=1, questions=1)
    with torch.inference_mode():
        see(student, batch)
    assert see(student, batch).requires_grad


def test_an_anchor_is_the_shape_that_the_companion_stands_beside():
    batch = lesson(random.Random(1), 8, 224, pictures=1, questions=3, drawn=False, cut_away=0)
    sides = {"right of": 0, "below": 1}
    pairs = 0
    for index, (layout,) in enumerate(batch.scenes):
        for first, second, side in layout.pairs:
            x, y = (int(part) // 28 for part in layout.items[second].centre)
            named = batch.anchor[index, y * 8 + x].tolist()
            pairs += 1
            assert named[sides[side]] == SHAPES.index(layout.items[first].name)
    assert pairs


def test_what_is_cut_is_gone_and_what_is_left_keeps_its_centre():
    dice = random.Random(3)
    things = 0
    for seed in range(40):
        layout = draw_layout(seed, 448, 1.6)
        done = cut([layout], 16, dice)
        (left,), (absent,) = done.left, done.absent
        gone = [item for item in layout.items if item not in left.items]
        things += len(gone)
        for item in gone:
            assert absent[covered(item, 16, 28)].all()
        for item in left.items:
            x, y = (int(part / 28) for part in item.centre)
            assert not absent[y, x]
        for one, two, side in left.pairs:
            named = left.items[one], left.items[two], side
            assert named in [
                (layout.items[first], layout.items[second], where) for first, second, where in layout.pairs
            ]
    assert things
    assert not whole([layout], 16).absent.any()


def test_questions_are_about_what_is_left():
    """A shape that was cut is not named in a question, except where its absence is what is asked."""
    named = 0
    for seed in range(30):
        dice = random.Random(seed)
        layout = draw_layout(seed, 448, 1.6)
        left = cut([layout], 16, dice).left[0]
        gone = {item.name for item in layout.items if item.kind == "shape"} - {item.name for item in left.items}
        named += len(gone)
        asked = [one for family in ("focus", "count", "neighbour", "place") for one in askable(left)[family]]
        assert not any(name in one.text or one.answer == name for one in asked for name in gone)
    assert named


@pytest.mark.parametrize("seed", [22, 23, 24])
def test_a_lesson_asks_something_however_much_is_cut_away(seed):
    """Of the first picture that two of these draw, nothing is left to ask about."""
    batch = lesson(random.Random(seed), 1, 112, pictures=1, questions=2, drawn=False, cut_away=1.0)
    assert (batch.packed.question > 0).any()


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_a_stage_draws_batches_of_several_kinds(stage):
    batches = [stage.draw(random.Random(number), number / 8) for number in range(8)]
    assert len({(batch.grid, len(batch.scenes), len(batch.scenes[0])) for batch in batches}) > 1
    for batch in batches:
        assert (batch.pictures is None) == (stage in (READ, REREAD))
        assert (batch.packed.targets != IGNORED).any()
        assert (
            batch.shown.shape[:2] == batch.absent.shape == (batch.packed.visual.sum() // batch.grid**2, batch.grid**2)
        )


def _light(stage):
    """The stage with small batches of one kind: as many steps at a fraction of their work."""
    draws = {
        SEE: lambda dice, done: practice(dice, 8, SMALL, SMALL // TOKEN),
        READ: lambda dice, done: lesson(dice, 6, SMALL, pictures=1, questions=QUESTIONS, drawn=False),
    }
    return replace(stage, draw=draws[stage])


@pytest.mark.usefixtures("one_thread")
def test_a_short_training_teaches_every_stage(tmp_path):
    """A hundredth of the real thing in light steps: each loss must fall well below where it starts.

    Some 100 seconds of one core with AVX2 alone; it is the number of steps that teaches, far more than their size.
    """
    begin = {stage: train(stage, tmp_path / "begin", steps=1) for stage in (SEE, READ)}
    end = {stage: train(_light(stage), tmp_path / "end", steps) for stage, steps in ((SEE, 90), (READ, 70))}
    assert end[SEE]["read"] < begin[SEE]["read"] / 2
    assert end[READ]["answer"] < begin[READ]["answer"] / 2
    assert end[READ]["probe"] < begin[READ]["probe"] * 0.9
    together = train(TOGETHER, tmp_path / "end", steps=2)
    assert together["read"] < begin[SEE]["read"]
    assert together["answer"] < begin[READ]["answer"]
    for stage in (REREAD, FINISH):
        assert train(stage, tmp_path / "end", steps=1)["answer"] < begin[READ]["answer"]


@pytest.mark.usefixtures("one_thread")
def test_an_interrupted_training_goes_on_as_if_it_had_not_been(tmp_path):
    train(SEE, tmp_path / "whole", steps=6)
    train(SEE, tmp_path / "parts", steps=6, until=3)
    train(SEE, tmp_path / "parts", steps=6)
    whole, parts = (torch.load(tmp_path / name / "see.pt", weights_only=True) for name in ("whole", "parts"))
    assert whole["averages"] == parts["averages"]
    assert all(torch.equal(weight, parts["weights"][name]) for name, weight in whole["weights"].items())


def test_joining_needs_both_halves(tmp_path):
    with pytest.raises(FileNotFoundError, match="see"):
        train(TOGETHER, tmp_path, steps=1)
