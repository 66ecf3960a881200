"""The wild bed's training: new words behind text alone, then a merger behind a frozen model; stopped, it goes on."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch

from checkpoint_weights import checkpoint_weights
from sppruner_vllm.demo.training.background import alone_in
from sppruner_vllm.demo.training.export import export_wild
from sppruner_vllm.demo.training.lessons import lesson
from sppruner_vllm.demo.training.packing import token_ids
from sppruner_vllm.demo.training.run import train
from sppruner_vllm.demo.training.told import told, told_sheets
from sppruner_vllm.demo.training.wild import FRONT, WILD_STAGES, WORDS
from sppruner_vllm.demo_model import CHECKPOINT

pytestmark = pytest.mark.usefixtures("one_thread")


def words_alone(dice, done):
    return told(dice, 1, pictures=1)


def one_picture(dice, done):
    return lesson(dice, 1, 112, pictures=1, questions=2, cut_away=0)


@pytest.mark.parametrize("sheets", [False, True])
def test_a_text_holds_no_picture_and_no_word_sees_a_later_one(sheets):
    dice = random.Random(3)
    batch = told_sheets(dice, 3, 280) if sheets else told(dice, 3, pictures=2)
    assert not torch.isin(batch.ids, torch.tensor(token_ids("<|image_pad|><|vision_start|>"))).any()
    assert not batch.mask.triu(1).any()
    lengths = batch.real.sum(1)
    assert lengths.max() == batch.ids.shape[1]
    assert all(batch.real[row, : lengths[row]].all() for row in range(3))


def test_a_stage_that_was_stopped_goes_on_as_if_it_had_not(tmp_path):
    stage = replace(WORDS, draw=words_alone)
    train(stage, tmp_path / "whole", steps=3)
    asked = iter([False, True])
    train(stage, tmp_path / "parts", steps=3, stopped=lambda: next(asked))
    assert torch.load(tmp_path / "parts" / "wild-words.pt", weights_only=True)["step"] == 2
    train(stage, tmp_path / "parts", steps=3)
    whole, parts = (
        torch.load(tmp_path / folder / "wild-words.pt", weights_only=True)["weights"] for folder in ("whole", "parts")
    )
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_the_front_comes_nearer_to_the_demos_words(tmp_path):
    begun = train(replace(WORDS, draw=words_alone), tmp_path, steps=40, until=1)
    ended = train(replace(WORDS, draw=words_alone), tmp_path, steps=40)
    assert ended["apart"] < begun["apart"]


def test_what_is_the_demos_stays_as_it_is_and_the_rest_is_new(tmp_path):
    for stage in WILD_STAGES.values():
        train(replace(stage, draw=words_alone if stage is WORDS else one_picture), tmp_path, steps=1)
    export_wild(tmp_path, tmp_path / "model")
    made, demo = checkpoint_weights(tmp_path / "model"), checkpoint_weights(CHECKPOINT)
    new = ("embed_tokens", "merger", *(f"layers.{number}." for number in range(FRONT)))

    def shifted(name):
        """Its name in the demo, which has no layers in front."""
        head, layers, tail = name.partition("language_model.layers.")
        number, _, rest = tail.partition(".")
        return f"{head}{layers}{int(number) - FRONT}.{rest}" if layers else name

    old = [name for name in made if not any(part in name for part in new)]
    assert len(old) == len([name for name in demo if "embed_tokens" not in name and "merger" not in name])
    assert all(torch.equal(made[name], demo[shifted(name)]) for name in old)
    assert all(
        not torch.equal(made[name], demo[name]) for name in made if "merger" in name and name.endswith(".weight")
    )


def test_two_trainings_in_one_folder_are_refused(tmp_path):
    with alone_in(tmp_path), pytest.raises(SystemExit, match="another process trains"), alone_in(tmp_path):
        pass
