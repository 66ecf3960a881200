"""The large beds' training: both beds go on with larger pictures, sheets of paper, two hops and second turns."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch

from checkpoint_weights import checkpoint_weights
from sppruner_vllm.demo.places import WILD_MODEL
from sppruner_vllm.demo.training import large
from sppruner_vllm.demo.training.export import export_large, export_large_wild
from sppruner_vllm.demo.training.large import LARGE_STAGES, SIGHT, ask_harder
from sppruner_vllm.demo.training.lessons import lesson, sheets
from sppruner_vllm.demo.training.packing import IGNORED, second_turn, token_ids, tokenizer
from sppruner_vllm.demo.training.run import train
from sppruner_vllm.demo.training.wild import FRONT
from sppruner_vllm.demo.world.layout import draw_layout
from sppruner_vllm.demo.world.questions import Asked
from sppruner_vllm.demo_model import CHECKPOINT

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


def test_the_beds_go_on_from_what_is_shipped(tmp_path, monkeypatch):
    for stage in LARGE_STAGES.values():
        train(replace(stage, draw=small), tmp_path, steps=1)
    export_large(tmp_path, tmp_path / "large")
    made, demo = checkpoint_weights(tmp_path / "large"), checkpoint_weights(CHECKPOINT)
    changed = {name for name in made if not torch.equal(made[name], demo[name])}
    assert any("visual.blocks" in name for name in changed)
    assert any("language_model.layers" in name for name in changed)
    assert not any("embed_tokens" in name for name in changed)

    monkeypatch.setattr(large, "LARGE_MODEL", tmp_path / "large")
    train(replace(SIGHT, draw=small), tmp_path, steps=1)
    export_large_wild(tmp_path, tmp_path / "large-wild")
    other, wild = checkpoint_weights(tmp_path / "large-wild"), checkpoint_weights(WILD_MODEL)
    kept = [f"model.language_model.layers.{number}.mlp.up_proj.weight" for number in range(FRONT)]
    for name in ("model.language_model.embed_tokens.weight", *kept):
        assert torch.equal(other[name], wild[name])
    layer, tower = "model.language_model.layers.{}.mlp.up_proj.weight", "model.visual.blocks.0.mlp.up_proj.weight"
    assert torch.equal(other[layer.format(FRONT)], made[layer.format(0)])
    assert torch.equal(other[tower], made[tower])
    merger = "model.visual.merger.mlp.0.weight"
    assert not torch.equal(other[merger], made[merger])
    assert not torch.equal(other[merger], wild[merger])
