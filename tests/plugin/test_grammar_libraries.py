"""Each request's grammar is made by the library that was chosen for it, whichever came first."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scheduling import configured
from sppruner_server.hooks import install_grammars
from vllm import SamplingParams
from vllm.exceptions import VLLMValidationError
from vllm.sampling_params import StructuredOutputsParams
from vllm.v1.request import Request
from vllm.v1.structured_output import StructuredOutputManager, backend_xgrammar

from sppruner_vllm.compat.grammars import let_requests_have_their_library

MULTIPLE = {"json": {"type": "integer", "multipleOf": 7}}
TAG = {
    "structural_tag": json.dumps(
        {"type": "structural_tag", "format": {"type": "json_schema", "json_schema": {"type": "integer"}}}
    )
}


@pytest.fixture
def managers(tiny_model: Path) -> Iterator[tuple[StructuredOutputManager, StructuredOutputManager]]:
    """An engine's manager as vLLM has it, and one with the hook."""
    config = configured(tiny_model)
    stock, hooked = StructuredOutputManager(config), StructuredOutputManager(config)
    let_requests_have_their_library(hooked)
    yield stock, hooked
    for manager in (stock, hooked):
        manager.clear_backend()


def grammar(manager: StructuredOutputManager, **wanted: Any) -> Any:
    """What an engine makes of a request that its API process has found to be good."""
    config = manager.vllm_config
    params = SamplingParams(structured_outputs=StructuredOutputsParams(**wanted))
    params._validate_structured_outputs(config.model_config, config.structured_outputs_config, manager.tokenizer)
    params.update_from_generation_config({}, eos_token_id=1)
    request = Request("r", [1], params, None)
    manager.grammar_init(request)
    made = request.structured_output_request
    assert made is not None
    return made._grammar.result(60)


def test_vllm_still_has_one_library_for_all(
    managers: tuple[StructuredOutputManager, StructuredOutputManager],
) -> None:
    stock, _ = managers
    grammar(stock, **MULTIPLE)
    with pytest.raises((KeyError, VLLMValidationError)):  # of 0.32, which asks it for what it cannot; of 0.33
        grammar(stock, **TAG)


def test_each_has_its_own(managers: tuple[StructuredOutputManager, StructuredOutputManager]) -> None:
    _, hooked = managers
    words = {"choice": ["a", "b"]}
    kinds = [type(grammar(hooked, **wanted)).__name__ for wanted in (words, MULTIPLE, TAG, MULTIPLE, words)]
    assert kinds == ["XgrammarGrammar", "GuidanceGrammar", "XgrammarGrammar", "GuidanceGrammar", "XgrammarGrammar"]


def test_all_of_them_fill_the_same_bitmask(
    managers: tuple[StructuredOutputManager, StructuredOutputManager],
) -> None:
    _, hooked = managers
    for wanted in (MULTIPLE, TAG):
        made = grammar(hooked, **wanted)
        bitmask = hooked.backend.allocate_token_bitmask(2)
        made.fill_bitmask(bitmask, 1)
        assert bitmask[1].any()
        assert not (bitmask[1] == -1).all()


def test_the_server_chooses_the_library_that_holds_all_of_a_schema(
    managers: tuple[StructuredOutputManager, StructuredOutputManager], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, hooked = managers
    name = "has_xgrammar_unsupported_json_features"
    monkeypatch.setattr(backend_xgrammar, name, getattr(backend_xgrammar, name))  # given back at the end
    wanted = {"json": {"minLength": 3}}
    stock = type(grammar(hooked, **wanted)).__name__
    install_grammars()
    install_grammars()
    assert (stock, type(grammar(hooked, **wanted)).__name__) == ("XgrammarGrammar", "GuidanceGrammar")
