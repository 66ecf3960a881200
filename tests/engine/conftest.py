"""Engines that the engine tests share; each is started once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cases import RATIOS, REDUCED
from engines import Reduced, ask, recorded_selections, start_engine
from reference import Reference


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
