"""How far visual tokens lie from words: close on the demo model, whose embeddings agree by training, else not."""

from __future__ import annotations

import json

import pytest

from sppruner_vllm.demo.places import WILD_MODEL
from sppruner_vllm.demo_model import CHECKPOINT
from sppruner_vllm.evaluation.__main__ import main
from sppruner_vllm.evaluation.misfit import EMBEDDINGS

LAYERS = 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The report of a short measurement."""
    out = tmp_path_factory.mktemp("misfit")
    assert main(["misfit", "--model", str(CHECKPOINT), "--scenes", "3", "--texts", "4", "--out", str(out)]) == 0
    return out


def test_the_demo_models_tokens_are_named_by_word_embeddings(folder):
    found = json.loads((folder / "misfit.json").read_text())
    assert [fit["source"] for fit in found["fits"]] == [EMBEDDINGS, *(f"layer {n + 1}" for n in range(LAYERS))]
    words = found["fits"][0]
    assert words["first"] > 0.9
    assert words["chance"] < 0.4
    assert found["tokens"] > 50


def test_on_the_wild_bed_middle_states_name_more_tokens_than_word_embeddings(tmp_path):
    assert main(["misfit", "--model", str(WILD_MODEL), "--scenes", "3", "--texts", "8", "--out", str(tmp_path)]) == 0
    words, *layers = json.loads((tmp_path / "misfit.json").read_text())["fits"]
    assert words["named"] < 0.4
    assert max(layer["named"] for layer in layers[1:4]) > words["named"] + 0.2


def test_the_report_has_a_table_and_a_picture(folder):
    text = (folder / "misfit.md").read_text()
    assert f"| {EMBEDDINGS} | " in text
    assert (folder / "misfit.png").stat().st_size > 5000


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(OSError, match="empty"):
        main(["misfit", "--model", str(tmp_path / "empty"), "--out", str(tmp_path)])
