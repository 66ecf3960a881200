"""The drawing of a selection, and that what is explained is what the method selects."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from sppruner_vllm.evaluation.drawing import PANELS, caption, draw, panels_of
from sppruner_vllm.evaluation.explain import explain
from sppruner_vllm.evaluation.vision import VisionModel
from sppruner_vllm.reduction import Selection

GRID = (4, 6)


def selection(relevance):
    return Selection(
        kept=torch.tensor([0, 7, 8, 23]),
        is_focus=torch.tensor([False, True, True, False]),
        saliency=torch.linspace(0, 1, 24),
        relevance=relevance,
        scores=torch.zeros(24),
    )


@pytest.fixture(scope="module")
def model(tiny_model):
    return VisionModel(str(tiny_model))


@pytest.fixture
def picture():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (112, 168, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    ("relevance", "gate"),
    [(None, "not looked at"), (torch.zeros(24), "gate shut"), (torch.linspace(0, 1, 24), "open")],
)
def test_the_caption_counts_and_says_how_the_gate_stands(relevance, gate):
    assert caption(GRID, selection(relevance)) == (
        f"N = 24 visual tokens (4 by 6), K = 4 kept: 2 focus, 2 context. Relevance: {gate}."
    )


@pytest.mark.parametrize("relevance", [None, torch.linspace(0, 1, 24)])
def test_a_selection_is_drawn_over_its_image(picture, relevance):
    drawn = draw(picture, GRID, selection(relevance), title="What is it?")
    colours = {colour for _, colour in drawn.getcolors(maxcolors=1 << 24)}
    assert (0xD5, 0x5E, 0x00) in colours  # the frame of a focus token
    assert (0x56, 0xB4, 0xE9) in colours  # and of a context token


def test_three_panels_stand_in_one_row(picture):
    drawn = draw(picture, GRID, selection(None), panels=panels_of(["image", "kept", "relevance"]))
    assert drawn.width > 3 * drawn.height * 0.8
    assert panels_of([]) == PANELS


def test_a_panel_that_does_not_exist_is_named():
    with pytest.raises(ValueError, match="no panel heat"):
        panels_of(["image", "heat"])


def test_another_images_grid_is_refused(picture):
    with pytest.raises(ValueError, match="3 x 6"):
        draw(picture, (3, 6), selection(None))


def test_the_selection_has_the_budget_and_the_grid_of_the_server(model, picture):
    found = explain(model, picture, "where is the cat", 0.222)
    assert found.grid == (4, 6)
    assert found.selection.kept.shape[0] == 6
    assert found.selection.relevance is not None


def test_a_method_that_ignores_the_question_has_no_relevance(model, picture):
    assert explain(model, picture, "where is the cat", 0.222, "uniform").selection.relevance is None


def test_what_all_questions_share_has_no_relevance(model, picture):
    shared = explain(model, picture, "where is the cat", 0.222, scope="image")
    other = explain(model, picture, "how many trees", 0.222, scope="image")
    assert shared.selection.relevance is None
    assert torch.equal(shared.selection.kept, other.selection.kept)


def test_the_query_is_the_question_alone(model):
    ids = model._processor.tokenizer.encode("where is the cat", add_special_tokens=False)
    wanted = model._embeddings(torch.tensor(ids))
    assert torch.equal(model.query("where is the cat"), wanted)
    assert model.query("") is None


@pytest.mark.parametrize(
    ("method", "ratio", "problem"),
    [
        ("nonsense", 0.5, "no method nonsense"),
        ("downscale", 0.5, "no selection to draw"),
        ("uniform", 1.5, "keep_ratio"),
    ],
)
def test_what_cannot_be_explained_says_why(model, picture, method, ratio, problem):
    with pytest.raises(ValueError, match=problem):
        explain(model, picture, "what", ratio, method)


def test_the_command_writes_the_picture(tiny_model, picture, tmp_path):
    picture.save(tmp_path / "in.png")
    command = [sys.executable, "-m", "sppruner_vllm.evaluation", "explain", str(tmp_path / "in.png"), "what is it"]
    options = ["--model", str(tiny_model), "--keep-ratio", "0.5", "-o", str(tmp_path / "out.png")]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=True)
    assert "N = 24 visual tokens (4 by 6), K = 12 kept" in done.stdout
    assert Image.open(io.BytesIO((tmp_path / "out.png").read_bytes())).width > 600
