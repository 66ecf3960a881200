"""The wild test bed's training: texts alone first, then eyes behind a frozen language model; stopped, it goes on."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch
from transformers import Qwen2_5_VLForConditionalGeneration

from sppruner_vllm.demo.training.background import alone_in
from sppruner_vllm.demo.training.export import export_wild
from sppruner_vllm.demo.training.lessons import lesson
from sppruner_vllm.demo.training.packing import IGNORED, token_ids
from sppruner_vllm.demo.training.run import train
from sppruner_vllm.demo.training.told import told, told_sheets
from sppruner_vllm.demo.training.wild import SHOWN, SIGHT, WORDS


@pytest.fixture(autouse=True)
def one_thread():
    """Steps this small gain nothing from a second thread, and on a busy machine each waits for the other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def words_alone(dice, done):
    return told(dice, 2, pictures=1, questions=2, crowd=0.5)


def one_picture(dice, done):
    return lesson(dice, 1, 112, pictures=1, questions=2, cut_away=0, harder=True)


def named(folder):
    """Weights of a written model, by the names that training gives them."""
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=torch.bfloat16)
    return {f"model.{name}": weight for name, weight in model.named_parameters()}


@pytest.mark.parametrize("sheets", [False, True])
def test_a_text_holds_no_picture_and_each_question_sees_it_and_itself_alone(sheets):
    dice = random.Random(3)
    batch = told_sheets(dice, 3, 280, 4) if sheets else told(dice, 3, pictures=2, questions=3)
    assert not torch.isin(batch.ids, torch.tensor(token_ids("<|image_pad|><|vision_start|>"))).any()
    assert batch.question.max() > 1
    row, places = 0, torch.arange(batch.ids.shape[1])
    second = places[batch.question[0] == 2]
    seen = batch.mask[row, 0, second[-1]]
    assert set(batch.question[0][seen].tolist()) == {0, 2}
    assert (batch.targets[batch.question == 0] == IGNORED).all()


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


def test_sight_changes_nothing_that_the_language_model_knows(tmp_path):
    for stage, draw in ((WORDS, words_alone), (SHOWN, one_picture), (SIGHT, one_picture)):
        train(replace(stage, draw=draw), tmp_path, steps=1)
    export_wild(tmp_path, tmp_path / "model")
    known = torch.load(tmp_path / "wild-words.pt", weights_only=True)["weights"]
    learnt = torch.load(tmp_path / "wild-sight.pt", weights_only=True)["weights"]
    assert not known.keys() & learnt.keys()
    assert all(
        torch.equal(known[name].bfloat16(), weight)
        for name, weight in named(tmp_path / "model").items()
        if name in known
    )
    assert any("merger" in name for name in learnt)


def test_two_trainings_in_one_folder_are_refused(tmp_path):
    with alone_in(tmp_path), pytest.raises(SystemExit, match="another process trains"), alone_in(tmp_path):
        pass
