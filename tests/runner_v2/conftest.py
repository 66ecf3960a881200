"""Which scenarios are asked, and what both runners answered: one process per runner, model and engine."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from models import MODELS, Model
from outcomes import Report
from runners import V2, Reporter, Runner, make_layered_environment
from scenarios import SHORT, Engine

WHOLE_TABLE = "--every-scenario"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        WHOLE_TABLE, action="store_true", help="ask all models on all their engines, and break V2 on purpose"
    )


def takes_whole_table(config: pytest.Config) -> bool:
    """The option is unknown where pytest was not started on this folder."""
    return bool(config.getoption(WHOLE_TABLE, default=False))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return True if collection_path.name == "test_faults.py" and not takes_whole_table(config) else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests that take an engine run for each one asked; a step, for each of its steps; a fact, for each it shows."""
    if "engine" not in metafunc.fixturenames:
        return
    cases: list[tuple[Any, ...]] = [(MODELS[0], SHORT)]
    if takes_whole_table(metafunc.config):
        cases = [(model, engine) for model in MODELS for engine in model.engines]
    names: tuple[str, ...] = ("model", "engine")
    if "step" in metafunc.fixturenames:
        names += ("step",)
        cases = [(*pair, step) for pair in cases for step in pair[1].steps]
    if "fact" in metafunc.fixturenames:
        names += ("fact",)
        cases = [(*case, fact) for case in cases for fact in case[2].shows]
    metafunc.parametrize(names, cases, ids=[", ".join(getattr(part, "name", part) for part in case) for case in cases])


@pytest.fixture(scope="session")
def second_runner() -> Runner:
    """V2, in an environment that is made when the first test wants it."""
    make_layered_environment()
    return V2


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Model], Path]:
    """A model's checkpoint folder, made once."""
    return cache(lambda model: model.checkpoint(tmp_path_factory.mktemp(model.name) / "model"))


@pytest.fixture(scope="session")
def report(checkpoint: Callable[[Model], Path], tmp_path_factory: pytest.TempPathFactory) -> Reporter:
    """What the one process of a runner, a model and an engine reports; its output where it failed fails the test."""

    @cache
    def asked(runner: Runner, model: Model, engine: Engine) -> Report | str:
        return runner.ask(checkpoint(model), engine.name, tmp_path_factory.mktemp("report") / "report.json")

    def told(runner: Runner, model: Model, engine: Engine) -> Report:
        answer = asked(runner, model, engine)
        assert isinstance(answer, Report), answer
        return answer

    return told
