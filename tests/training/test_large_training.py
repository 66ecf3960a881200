"""The last stages of training: larger pictures, pairs of them, sheets of paper, two hops and second turns."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch

from checkpoint_weights import checkpoint_weights
from sppruner_vllm.demo.training.export import export
from sppruner_vllm.demo.training.large import EVERY_KIND, GAPS, LARGE_STAGES, ask_harder
from sppruner_vllm.demo.training.lessons import lesson, sheets
from sppruner_vllm.demo.training.packing import IGNORED, second_turn, token_ids, tokenizer
from sppruner_vllm.demo.training.run import train
from sppruner_vllm.demo.training.stages import FINISH
from sppruner_vllm.demo.world.layout import draw_layout
from sppruner_vllm.demo.world.questions import Asked

pytestmark = pytest.mark.usefixtures("one_thread")


def small(dice, done):
    return lesson(dice, 1, 112, pictures=1, questions=2, asking=ask_harder)


def test_a_second_turn_is_asked_behind_the_first_one_and_its_answer():
    first, then = Asked("focus", "What colour is the star?", "red"), Asked("count", "How many moons are there?", "two")
    both = second_turn(first, then)
    assert both.family == "count"
    assert both.answer == "two"
    before, user, after = both.text.partition("<|im_start|>user\n")
    assert before.startswith(first.text)
    assert before.endswith("assistant\nred<|im_end|>\n")
    assert user
    assert after == then.text
    assert token_ids(both.text).count(token_ids("<|im_end|>")[0]) == 2


def test_harder_questions_have_two_hops_and_second_turns_among_them():
    dice = random.Random(5)
    asked = [one for seed in range(12) for one in ask_harder([draw_layout(seed, 448, 1.5)], 24, dice)]
    assert {"two hops", "focus", "count", "reading"} <= {one.family for one in asked}
    second = [one for one in asked if "<|im_start|>user" in one.text]
    assert 0.1 < len(second) / len(asked) < 0.4


def test_sheets_are_drawn_whole_and_asked_about():
    batch = sheets(random.Random(3), 3, 280, 4)
    assert batch.pictures.shape == (3, 3, 280, 280)
    assert not batch.absent.any()
    asked = tokenizer().decode(batch.packed.ids[batch.packed.question > 0])
    assert any(word in asked for word in ("Which word is after", "Which number is right of", "bar"))
    assert (batch.packed.targets != IGNORED).any(1).all()


def test_the_last_stage_shows_pairs_and_the_largest_pictures():
    batches = [EVERY_KIND.draw(random.Random(number), 0.0) for number in range(6)]
    assert {len(batch.scenes[0]) for batch in batches} == {1, 2}
    assert {16, 36} <= {batch.grid for batch in batches}


def test_a_trained_model_goes_on_and_keeps_its_words_and_a_third_of_what_it_was(tmp_path):
    train(replace(FINISH, draw=small, starts_from=()), tmp_path, steps=1)
    for stage in LARGE_STAGES.values():
        train(replace(stage, draw=small), tmp_path, steps=1)
    export(tmp_path, tmp_path / "model")
    files = (tmp_path / f"{stage.name}.pt" for stage in (FINISH, GAPS))
    before, after = (torch.load(file, weights_only=True)["weights"] for file in files)
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    assert any("visual.blocks" in name for name in changed)
    assert any("language_model.layers" in name for name in changed)
    words = "model.language_model.embed_tokens.weight"
    assert f"model.{words}" not in after
    made = checkpoint_weights(tmp_path / "model")
    assert torch.equal(made[words], before[f"model.{words}"].bfloat16())
    for name in changed:
        mean = before[name] / 3 + after[name] * 2 / 3
        torch.testing.assert_close(made[name.removeprefix("model.")], mean.bfloat16(), rtol=0.01, atol=1e-6)
