"""Methods that other distributions bring by an entry point."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sppruner_vllm.reduction import (
    ENTRY_POINT_GROUP,
    BrokenMethod,
    ImageTokens,
    UnknownMethod,
    get_method,
    method_names,
    reduce,
)
from sppruner_vllm.reduction.core import registry

GOOD = """
from sppruner_vllm.reduction import Method, get_method
best = Method("best", uses_query=False, select=get_method("uniform").select)
"""
TAKEN = GOOD.replace('"best", uses_query=False', '"uniform", uses_query=True')

Install = Callable[[str, str, str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put a distribution `third-party` on the path that offers `name = value` of a module with that source."""
    monkeypatch.setattr(registry, "_methods", dict(registry._methods))
    monkeypatch.syspath_prepend(tmp_path)
    registry._load_entry_points.cache_clear()

    def put(name: str, value: str, source: str) -> None:
        info = tmp_path / "third_party-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: third-party\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{ENTRY_POINT_GROUP}]\n{name} = {value}\n")
        (tmp_path / "third_party_method.py").write_text(source)

    yield put
    sys.modules.pop("third_party_method", None)
    registry._load_entry_points.cache_clear()


def test_the_group_has_the_documented_name():
    assert ENTRY_POINT_GROUP == "sppruner.reduction_methods"


def test_a_method_of_another_distribution_is_found_by_name(install: Install):
    install("best", "third_party_method:best", GOOD)
    image = ImageTokens(torch.ones(12, 4), (3, 4), None, 5)
    assert torch.equal(reduce([image], "best")[0].kept, reduce([image], "uniform")[0].kept)
    assert "best" in method_names()


def test_other_distributions_are_loaded_late_and_once(install: Install):
    install("best", "third_party_method:best", f"import sys\nsys.loads = getattr(sys, 'loads', 0) + 1\n{GOOD}")
    try:
        get_method("focus_context")
        assert not hasattr(sys, "loads")
        method_names()
        del sys.modules["third_party_method"]
        method_names()
        with pytest.raises(UnknownMethod, match="best, coverage"):
            get_method("worst")
        assert sys.loads == 1
    finally:
        vars(sys).pop("loads", None)


@pytest.mark.parametrize(
    ("name", "value", "source", "reason"),
    [
        ("best", "third_party_method:best", "import nowhere_to_be_found", "ModuleNotFoundError: No module named"),
        ("best", "third_party_method:best", "raise OSError('no licence')", "OSError: no licence"),
        ("best", "third_party_method:worst", GOOD, "AttributeError"),
        ("best", "third_party_method:best", "best = print", "TypeError: it is a builtin_function_or_method"),
        ("other", "third_party_method:best", GOOD, "ValueError: the method calls itself 'best'"),
        ("uniform", "third_party_method:best", TAKEN, "already belongs to another"),
    ],
)
def test_a_broken_one_is_named_with_its_distribution(install: Install, name: str, value: str, source: str, reason: str):
    install(name, value, source)
    for _ in range(2):
        with pytest.raises(BrokenMethod, match=f"distribution 'third-party' .*{name}.*{reason}"):
            method_names()
    with pytest.raises(BrokenMethod, match="third-party"):
        get_method("no such method")


def test_a_broken_one_leaves_our_own_methods_alone(install: Install):
    install("best", "third_party_method:best", "raise OSError")
    assert reduce([ImageTokens(torch.ones(12, 4), (3, 4), None, 5)])[0].kept.shape == (5,)
