"""What a method says of itself: its file, its needs, its constants."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch

from reduction_scenes import noise_image
from sppruner_vllm.reduction import (
    BUILTIN_METHODS,
    DEFAULT_METHOD,
    FocusContextParams,
    ImageTokens,
    Method,
    Selection,
    get_method,
    method_names,
    reduce,
)
from sppruner_vllm.reduction.core import registry
from sppruner_vllm.reduction.core.params import QueryParams
from sppruner_vllm.reduction.focus_context.params import SaliencyParams


@dataclass(frozen=True)
class Share:
    share: float = 0.5


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The constants that the method `probe`, which has some, and `bare`, which has none, were called with."""
    monkeypatch.setattr(registry, "_methods", dict(registry._methods))
    calls: list[object] = []

    def select(images: Sequence[ImageTokens], text_mean: torch.Tensor | None, params: object) -> list[Selection]:
        calls.append(params)
        return reduce(images, "uniform")

    registry.register_method(Method("probe", select=select, constants=Share()))
    registry.register_method(Method("bare", select=select))
    return calls


def test_the_names_of_the_methods_are_read_without_torch():
    code = (
        "import sys; from sppruner_vllm.reduction import DEFAULT_METHOD, method_names; "
        "assert DEFAULT_METHOD in method_names(); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", BUILTIN_METHODS)
def test_a_method_stands_in_the_file_of_its_name(name: str):
    method = get_method(name)
    assert method.name == name
    assert method.select.__module__ == f"sppruner_vllm.reduction.methods.{name}"


def test_the_default_is_one_of_the_methods_that_come_with_the_package():
    assert DEFAULT_METHOD in BUILTIN_METHODS
    assert set(BUILTIN_METHODS) <= method_names()


def test_a_method_that_says_nothing_needs_nothing():
    method = Method("plain", uses_query=False, select=get_method("uniform").select)
    assert method.needs == frozenset()
    assert not method.uses_query


@pytest.mark.parametrize("method", [{"uses_query": True}, {"needs": ["query"]}, {"needs": ("query",)}])
def test_looking_at_the_query_is_one_of_the_needs(method: dict[str, object]):
    made = Method("asked", select=get_method("uniform").select, **method)
    assert made.needs == {"query"}
    assert made.uses_query


def test_a_need_that_no_host_knows_is_refused():
    with pytest.raises(ValueError, match="'deep' needs depth; what can be needed: attention, merger_input, query"):
        Method("deep", select=get_method("uniform").select, needs={"query", "depth"})


def test_a_method_gets_its_own_constants_unless_the_caller_gives_others(seen: list[object]):
    image = noise_image((3, 4), 5, seed=0)
    reduce([image], "probe")
    reduce([image], "probe", params=Share(0.1))
    assert seen == [Share(0.5), Share(0.1)]


def test_constants_of_another_method_are_refused(seen: list[object]):
    with pytest.raises(TypeError, match="'probe' takes Share, not FocusContextParams"):
        reduce([noise_image((3, 4), 5, seed=0)], "probe", params=FocusContextParams())
    assert seen == []


def test_a_method_that_names_no_constants_gets_what_the_caller_gives(seen: list[object]):
    image = noise_image((3, 4), 5, seed=0)
    reduce([image], "bare")
    reduce([image], "bare", params="anything")
    assert seen == [None, "anything"]


@pytest.mark.parametrize(
    ("method", "own", "whole"),
    [
        ("dpp", QueryParams(relevance=False), FocusContextParams(relevance=False)),
        ("coverage", QueryParams(relevance=False), FocusContextParams(relevance=False)),
        ("saliency", SaliencyParams(saliency_clip=0.3), FocusContextParams(saliency_clip=0.3)),
    ],
)
def test_a_comparator_takes_its_own_constants_or_all_of_focus_context(method: str, own: object, whole: object):
    image = noise_image((6, 7), 10, seed=1, words=3)
    mine, theirs, default = (reduce([image], method, params=params)[0] for params in (own, whole, None))
    assert torch.equal(mine.scores, theirs.scores)
    assert not torch.equal(mine.scores, default.scores)


@pytest.mark.parametrize(
    ("constants", "field"), [(SaliencyParams, {"saliency_clip": 0.5}), (SaliencyParams, {"attention_share": -0.1})]
)
def test_a_comparators_constant_outside_its_meaning_is_refused(constants: type, field: dict[str, float]):
    with pytest.raises(ValueError, match=next(iter(field))):
        constants(**field)
