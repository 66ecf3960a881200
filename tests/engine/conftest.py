"""Engines that the engine tests share; each is started once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from beds import BEDS, Bed
from cases import RATIOS, REDUCED
from engines import Reduced, ask, start_engine
from recording import recorded_selections
from reference import Reference
from sppruner_vllm.planning.smaller import Grid
from towers import EVERYTHING, parts_of


@pytest.fixture(scope="session")
def llm(tiny_model: Path) -> Any:
    """The usual engine: eager, prefix caching, whole prompts in one step."""
    return start_engine(tiny_model)


@pytest.fixture(scope="session")
def model(llm: Any) -> Any:
    """Our model object, from the worker of the usual engine."""
    return llm.llm_engine.model_executor.driver_worker.worker.model_runner.get_model()


@pytest.fixture(scope="session")
def reference(tiny_model: Path) -> Reference:
    return Reference(tiny_model)


@pytest.fixture(scope="module")
def inputs(request: pytest.FixtureRequest, reference: Reference) -> dict[str, Any]:
    """The module's PICTURES as vLLM sends them to its encoder, which normalizes them itself."""
    return reference.encoder_inputs(request.module.PICTURES)


@pytest.fixture(scope="module")
def grids(model: Any, inputs: dict[str, Any]) -> list[Grid]:
    return list(model.family.grids(inputs))


@pytest.fixture(scope="module")
def whole(model: Any, inputs: dict[str, Any], grids: list[Grid]) -> Any:
    """What the whole tower makes of them, with everything heard."""
    (part,) = parts_of(model, inputs, [()] * len(grids), EVERYTHING)
    return part


@pytest.fixture(scope="session")
def reduced(llm: Any) -> Reduced:
    """Each reduced case at each ratio, asked alone on the usual engine: its answer and the kept indices per image."""
    answers = {}
    for index, case in enumerate(REDUCED):
        for ratio in RATIOS:
            with recorded_selections() as kept:
                (answer,) = ask(llm, [case], ratio)
            answers[index, ratio] = answer, kept
    return answers


@pytest.fixture(scope="session")
def chunked(tiny_model: Path) -> Any:
    """An engine whose steps end inside pictures, and which keeps nothing of what it has computed."""
    return start_engine(
        tiny_model,
        {"ROWS_CACHE_MIB": "0"},
        max_num_batched_tokens=48,
        max_num_seqs=4,
        enable_prefix_caching=False,
    )


@pytest.fixture(scope="session")
def compiled(tiny_model: Path) -> Any:
    """An engine whose language model is compiled, without vLLM's processor cache."""
    return start_engine(tiny_model, enforce_eager=False, mm_processor_cache_gb=0, max_num_seqs=16)


def run_without_plugins(program: str, *arguments: object) -> None:
    """Run a program of this folder in a process in which vLLM loads no plugin."""
    here = Path(__file__).parent
    environment = os.environ | {
        "VLLM_PLUGINS": "",
        "PYTHONPATH": os.pathsep.join([str(here), str(here.parent)]),
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    }
    subprocess.run([sys.executable, str(here / program), *map(str, arguments)], env=environment, check=True)


@pytest.fixture(scope="session")
def stock(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Stock vLLM's answers to STOCK and about a video, from a process in which no plugin is loaded."""
    out = tmp_path_factory.mktemp("stock") / "answers.json"
    run_without_plugins("stock.py", tiny_model, out)
    answers: list[dict[str, Any]] = json.loads(out.read_text())
    return answers


EVERY_FAMILY = "SPPRUNER_TEST_EVERY_FAMILY"
"""Set by `make parity`: the list for each family, in full. Else what another file of this folder asks is left out, and
what a sister family is asked."""

COMPILED = "test_compilation_changes_nothing"
WHOLE_VIDEO = "test_a_video_that_stays_whole_moves_nothing"
SWITCHED = (
    "test_with_each_switch_on_a_ratio_of_1_is_stock_vllm_to_the_token",
    "test_with_each_switch_on_a_reduced_prompt_answers_like_transformers",
)


@dataclass(frozen=True)
class AllBut:
    """Tests of every name but these."""

    names: tuple[str, ...] = ()

    def __contains__(self, test: str) -> bool:
        return test not in self.names


ALL = AllBut()
ALL_BUT_REFERENCES = AllBut(
    (
        "test_our_class_runs",
        "test_a_ratio_of_1_is_stock_vllm_to_the_token",
        "test_a_reduced_prompt_answers_like_transformers",
        "test_every_image_keeps_exactly_its_budget",
    )
)
"""For a family whose own code these ask, and whose other code is a sister's."""

LEFT_OUT: dict[str, dict[str, tuple[str, ...] | AllBut]] = {
    "test_family_parity.py": {
        "qwen2_5_vl": ALL,
        "qwen2_vl": (COMPILED, WHOLE_VIDEO),
        "llava": (WHOLE_VIDEO,),
        "llava_next": ALL_BUT_REFERENCES,
        "llava_onevision": ALL,
        "internvl": ALL,
        "internvl_chat": ALL,
        "glm4_1v": ALL,
        "qwen3_vl": (COMPILED, WHOLE_VIDEO, *SWITCHED),
        "qwen3_vl_moe": ALL,
    },
    "test_family_tensor_parallel.py": dict.fromkeys(BEDS.keys() - {"qwen2_vl", "llava"}, ALL),
    "test_videos.py": {"qwen2_vl": ALL, "qwen3_vl_moe": ALL},
    "test_beds.py": dict.fromkeys(BEDS.keys() - {"qwen2_vl", "llava"}, ALL),
}
"""By file and family. test_reference, test_engine_modes, test_switches and test_scale_out ask the same of Qwen2.5-VL;
the others wait for `make parity`."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if EVERY_FAMILY in os.environ:
        return
    out = [item for item in items if _is_left_out(item)]
    config.hook.pytest_deselected(items=out)
    items[:] = [item for item in items if item not in out]


def _is_left_out(item: pytest.Item) -> bool:
    call = getattr(item, "callspec", None)
    family = None if call is None else call.params.get("family")
    left_out = () if not isinstance(family, Bed) else LEFT_OUT.get(item.path.name, {}).get(family.name, ())
    return getattr(item, "originalname", None) in left_out


@pytest.fixture(scope="session", params=BEDS.values(), ids=BEDS.keys())
def family(request: pytest.FixtureRequest) -> Bed:
    """Each model family in turn. Tests of one family run together, so that its engines start once."""
    return request.param


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Bed], Path]:
    """The tiny checkpoint of a family, written once."""
    return cache(lambda bed: bed.build(tmp_path_factory.mktemp(bed.name) / "model"))


@pytest.fixture(scope="session")
def started(built: Callable[[Bed], Path]) -> Callable[[Bed], Any]:
    """The usual engine of a family, started once: eager, prefix caching, whole prompts in one step."""
    return cache(lambda bed: start_engine(built(bed), limit_mm_per_prompt=dict(bed.limits)))


@pytest.fixture(scope="session")
def in_chunks(built: Callable[[Bed], Path]) -> Callable[[Bed], Any]:
    """An engine of a family whose steps end inside pictures, started once."""
    return cache(
        lambda bed: start_engine(
            built(bed),
            limit_mm_per_prompt=dict(bed.limits),
            max_num_batched_tokens=48,
            max_num_seqs=4,
            enable_prefix_caching=False,
        )
    )


@pytest.fixture(scope="session")
def family_model(family: Bed, built: Callable[[Bed], Path]) -> Path:
    """The family's tiny checkpoint."""
    return built(family)


@pytest.fixture(scope="session")
def family_reference(family_model: Path) -> Reference:
    return Reference(family_model)


@pytest.fixture(scope="session")
def families_stock(
    request: pytest.FixtureRequest, built: Callable[[Bed], Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Any]]:
    """By family, for all that this session asks: one process starts for them, in which no plugin is loaded."""
    asked = [item for item in request.session.items if "family_stock" in getattr(item, "fixturenames", ())]
    beds = dict.fromkeys(item.callspec.params["family"] for item in asked)  # type: ignore[attr-defined]
    out = tmp_path_factory.mktemp("stock") / "stock.pt"
    run_without_plugins("family_stock.py", out, *(part for bed in beds for part in (bed.name, built(bed))))
    return torch.load(out, weights_only=False)


@pytest.fixture(scope="session")
def family_stock(family: Bed, families_stock: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Stock vLLM's answers to FAMILY_STOCK, and its model class."""
    return families_stock[family.name]
