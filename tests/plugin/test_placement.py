"""Names that are nearly ours, and ours in the wrong place; each way into the server is tried in tests/server."""

from __future__ import annotations

import pytest
from sppruner_server.body.placement import misplaced, misplaced_header
from sppruner_server.routes.requests import (
    BatchRequest,
    ChatRequest,
    CountTokensRequest,
    MessagesRequest,
    ResponseRequest,
)
from vllm.entrypoints.openai.completion.protocol import CompletionRequest
from vllm.entrypoints.serve.tokenize.protocol import DetokenizeRequest, TokenizeChatRequest, TokenizeCompletionRequest

from sppruner_vllm.request.fields import REQUEST_FIELDS
from sppruner_vllm.request.spelling import meant

KNOWN = (
    *(BatchRequest, ChatRequest, CountTokensRequest, MessagesRequest, ResponseRequest),
    *(CompletionRequest, DetokenizeRequest, TokenizeChatRequest, TokenizeCompletionRequest),
)


@pytest.mark.parametrize("name", REQUEST_FIELDS)
def test_a_field_of_ours_is_itself(name: str) -> None:
    assert meant(name) == name
    assert misplaced({name: 1}) is None
    assert misplaced({"mm_processor_kwargs": {name: 1}}) is None


@pytest.mark.parametrize("name", REQUEST_FIELDS)
def test_every_slip_of_one_letter_is_found(name: str) -> None:
    for place in range(len(name)):
        assert meant(name[:place] + name[place + 1 :]) == name
        assert meant(name[:place] + "x" + name[place:]) == name


@pytest.mark.parametrize(
    "name", ["visual_keep_ratio", "x-keep-ratio", "sppruner.keepRatio", "KEEPTOKENS", "focus query"]
)
def test_ours_with_something_around_it_is_found(name: str) -> None:
    assert meant(name) is not None


def test_a_header_that_names_a_field_of_ours_is_found_and_none_that_is_like_one() -> None:
    for name in ("x-sppruner-keep-ratio", "keep_ratio", "X-Max-Pixels", "x-sppruner-images-keep-ratio"):
        assert misplaced_header(["host", name]).param == name
    assert (
        misplaced_header(["keep-alive", "x-sppruner-affinity", "x-stainless-arch", "max-forwards", "x-method"]) is None
    )


def test_no_field_of_vllms_is_taken_for_ours() -> None:
    names = {name for model in KNOWN for name in model.model_fields} - set(REQUEST_FIELDS)
    assert not [name for name in names if meant(name)]


@pytest.mark.parametrize(
    "name",
    [
        *("keep_alive", "num_keep", "options", "stop_token_ids", "tokens", "max_tokens", "min_tokens", "num_predict"),
        *("repetition_penalty", "reasoning_effort", "ratio", "query", "scope", "method", "focus", "keep"),
        *("verbosity", "prompt_cache_key", "safety_identifier", "store", "modalities", "detail", "ttl"),
    ],
)
def test_a_field_of_another_servers_is_not_taken_for_ours(name: str) -> None:
    assert meant(name) is None


def test_long_names_are_not_looked_at() -> None:
    assert meant("keep_ratio" * 1000) is None


@pytest.mark.parametrize("document", [None, [], 7, "keepratio", {"messages": "keepratio"}, {"prompt": list(range(9))}])
def test_what_has_no_such_name_is_let_through(document: object) -> None:
    assert misplaced(document) is None
