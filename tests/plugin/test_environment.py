"""What the process environment is made to be before vLLM is imported."""

import os
from pathlib import Path

import pytest
from sppruner_server import environment
from sppruner_server.environment import (
    METRICS_FOLDER,
    NO_COMPILING,
    NO_CREATED_SERIES,
    PLUGINS,
    compile_where_possible,
    metrics_folder,
    select_plugins,
)

from sppruner_vllm.errors import UnsupportedSetup


class Installed:
    """Stands for the entry points of one group."""

    def __init__(self, *names: str) -> None:
        self.names = set(names)

    def __iter__(self):
        return iter([type("EntryPoint", (), {"name": name}) for name in self.names])


@pytest.fixture
def installed(monkeypatch):
    groups = {
        "vllm.general_plugins": Installed("sppruner", "theirs"),
        "vllm.platform_plugins": Installed("npu"),
        "vllm.endpoint_plugins": Installed("sppruner_api", "their_routes"),
    }
    monkeypatch.setattr(environment, "entry_points", lambda group: groups.get(group, Installed()))
    return groups


def test_our_plugins_are_named_and_no_other_one_is_hidden(installed, monkeypatch):
    monkeypatch.delenv(PLUGINS, raising=False)
    select_plugins()
    assert os.environ[PLUGINS].split(",") == ["npu", "sppruner", "theirs", "sppruner_api"]


def test_a_list_of_the_operator_is_only_added_to(installed, monkeypatch):
    monkeypatch.setenv(PLUGINS, "npu,their_routes")
    select_plugins()
    assert os.environ[PLUGINS].split(",") == ["npu", "their_routes", "sppruner", "sppruner_api"]


def test_a_package_that_is_not_installed_is_refused(installed, monkeypatch):
    monkeypatch.delenv(PLUGINS, raising=False)
    installed["vllm.endpoint_plugins"].names.remove("sppruner_api")
    with pytest.raises(UnsupportedSetup, match="sppruner_api is missing"):
        select_plugins()


def test_the_metrics_folder_is_fresh_and_goes_at_the_end(monkeypatch):
    monkeypatch.delenv(METRICS_FOLDER, raising=False)
    with metrics_folder():
        folder = Path(os.environ[METRICS_FOLDER])
        (folder / "counter_1.db").touch()
    assert not folder.exists()
    assert METRICS_FOLDER not in os.environ


def test_a_metrics_folder_of_the_operator_is_respected(monkeypatch, tmp_path):
    monkeypatch.setenv(METRICS_FOLDER, str(tmp_path))
    with metrics_folder():
        assert os.environ[METRICS_FOLDER] == str(tmp_path)
    assert tmp_path.exists()


@pytest.mark.parametrize(("wish", "found"), [(None, "True"), ("False", "False")])
def test_the_time_a_series_was_created_is_no_series_unless_the_operator_wants_it(monkeypatch, tmp_path, wish, found):
    monkeypatch.setenv(METRICS_FOLDER, str(tmp_path))
    monkeypatch.setenv(NO_CREATED_SERIES, wish) if wish else monkeypatch.delenv(NO_CREATED_SERIES, raising=False)
    with metrics_folder():
        assert os.environ[NO_CREATED_SERIES] == found


@pytest.mark.parametrize(("compiler", "compiles"), [(None, "1"), ("g++", None)])
def test_without_a_compiler_torch_compiles_nothing(monkeypatch, tmp_path, compiler, compiles):
    """vLLM compiles parts of its sampler for the first request that asks for them, and its engine would die of it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(NO_COMPILING, raising=False)
    if compiler is not None:
        (tmp_path / compiler).touch(0o755)
    compile_where_possible()
    assert os.environ.get(NO_COMPILING) == compiles
    monkeypatch.delenv(NO_COMPILING, raising=False)


def test_an_operator_may_have_torch_compile_all_the_same(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv(NO_COMPILING, "0")
    compile_where_possible()
    assert os.environ[NO_COMPILING] == "0"
