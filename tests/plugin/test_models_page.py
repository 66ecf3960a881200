"""docs/use/models.md says of each family what the code does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES as MODEL_NAMES
from vllm.model_executor.models import ModelRegistry

from beds import BEDS, UNTRAINED, Bed
from beds.internvl_chat import new_internvl_chat_config
from beds.mistral3 import ARCHITECTURE as STOCK
from sppruner_vllm.demo.places import LLAVA_MODEL, WILD_MODEL
from sppruner_vllm.demo_model import CHECKPOINT
from sppruner_vllm.families import ARCHITECTURES
from sppruner_vllm.worker.original_positions import OriginalPositionsMixin

ROOT = Path(__file__).parents[2]
Rows = dict[str, dict[str, str]]


def tables() -> list[Rows]:
    """The cells of each table, by architecture and heading."""
    found: list[Rows] = []
    heads: list[str] = []
    for line in (ROOT / "docs" / "use" / "models.md").read_text().splitlines():
        if not line.startswith("|"):
            heads = []
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not heads:
            heads = cells
            found.append({})
        elif not set(line) <= set("|-"):
            found[-1][cells[0].strip("`")] = dict(zip(heads[1:], cells[1:], strict=True))
    return found


@pytest.fixture(scope="module", params=sorted(ARCHITECTURES))
def architecture(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def model_class(architecture: str) -> Any:
    return getattr(import_module(ARCHITECTURES[architecture]), architecture)


@pytest.fixture(scope="module")
def family(architecture: str, model_class: Any) -> Any:
    """Of a checkpoint as transformers would make one, where it knows such."""
    kind = next((kind for kind, name in MODEL_NAMES.items() if name == architecture), None)
    return model_class.family_of(new_internvl_chat_config() if kind is None else CONFIG_MAPPING[kind]())


@pytest.fixture(scope="module")
def bed(architecture: str) -> Bed:
    return BEDS[ARCHITECTURES[architecture].rpartition(".")[2]]


def said(value: object) -> str:
    return "yes" if value else "no"


def test_each_table_has_a_row_for_each_family() -> None:
    assert [set(table) for table in tables()] == [set(ARCHITECTURES)] * 3


def test_what_becomes_of_its_media(architecture: str, family: Any, model_class: Any, bed: Bed) -> None:
    row = tables()[0][architecture]
    assert row["images"] == ("reduced" if family.reduces else "whole")
    assert row["several images"] == said(bed.limits["image"] > 1)
    seen = "video" in bed.limits
    assert row["videos"] == ("none" if not seen else "whole" if family.videos is None else "reduced")
    assert row["positions"] == ("kept" if issubclass(model_class, OriginalPositionsMixin) else "renumbered")


def test_what_can_be_switched_on(architecture: str, family: Any, bed: Bed) -> None:
    """What is heard is what the parity list switches on; whether questions are read shows there."""
    assert ("attention" in family.heard) == bed.attention
    assert tables()[1][architecture] == {
        "`--saliency-attention`": said("attention" in family.heard),
        "`--rank-on patches`": said("merger_input" in family.heard),
        "`--encoder-cut`, `--skip-repeats`": said(family.cut is not None),
        "`--question-depth`": said(bed.reads),
    }


TRAINED: Mapping[str, Path] = {"the demo model": CHECKPOINT, "the wild bed": WILD_MODEL, "the LLaVA bed": LLAVA_MODEL}
"""What answers were measured on, by the name that the page has for it."""


def test_how_it_was_tested(architecture: str, bed: Bed) -> None:
    trained = [
        name
        for name, folder in TRAINED.items()
        if architecture in json.loads((folder / "config.json").read_text())["architectures"]
    ]
    expected: Mapping[str, str] = {
        **dict.fromkeys(("stock at ratio 1", "transformers below it", "two ranks", "runner V1"), "`make parity`"),
        "runner V2": "`make test-v2`" if bed in UNTRAINED else "`make test-v2`, the demo model",
        "answers": ", ".join(trained) or "no",
    }
    assert tables()[2][architecture] == expected


@pytest.mark.parametrize("other", [STOCK, "Qwen3_5ForConditionalGeneration", "Qwen3_5MoeForConditionalGeneration"])
def test_what_is_said_to_be_served_as_stock_has_no_family(other: str) -> None:
    assert other not in ARCHITECTURES
    assert other in ModelRegistry.get_supported_archs()
