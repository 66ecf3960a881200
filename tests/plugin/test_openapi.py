"""The server's own description, against the classes that parse requests and the table of errors."""

from __future__ import annotations

import json
import re

import pytest
from sppruner_server.body.json_body import read
from sppruner_server.errors.codes import CODES
from sppruner_server.middleware.authentication import PROBES
from sppruner_server.openapi.document import OPERATIONS, Described, document
from sppruner_server.routes import requests
from sppruner_server.routes.text import StrictConversationRequest, StrictTextRequest, StrictTokensRequest

from sppruner_vllm.recipes import request_methods
from sppruner_vllm.request.fields import REQUEST_FIELDS
from sppruner_vllm.settings import Settings

PATHS = [operation.path for operation in OPERATIONS]
BODIES = {
    "ChatRequest": (requests.ChatRequest,),
    "BatchRequest": (requests.BatchRequest,),
    "ResponseRequest": (requests.ResponseRequest,),
    "MessagesRequest": (requests.MessagesRequest,),
    "CountTokensRequest": (requests.CountTokensRequest,),
    "CompletionRequest": (requests.StrictCompletionRequest,),
    "TokenizeRequest": (StrictTextRequest, StrictConversationRequest),
    "DetokenizeRequest": (StrictTokensRequest,),
}


def described(keys: bool = True, **limits: object) -> dict:
    facts = Described(["tiny"], 99, 64, keys, PROBES, Settings(**limits), request_methods())
    return document(facts, PATHS)


@pytest.fixture(scope="module")
def whole() -> dict:
    return described()


def test_every_schema_that_is_referred_to_is_there(whole):
    named = set(re.findall(r"#/components/schemas/([\w.-]+)", json.dumps(whole)))
    assert named <= whole["components"]["schemas"].keys()


def test_every_body_has_its_class(whole):
    named = {operation.body for operation in OPERATIONS if operation.body}
    assert named == BODIES.keys()


@pytest.mark.parametrize("name", sorted(BODIES))
def test_a_body_has_no_field_that_its_class_does_not_know(whole, name):
    schema = whole["components"]["schemas"][name]
    fields = {field for one in schema.get("anyOf", [schema]) for field in one["properties"]}
    assert fields <= {field for each in BODIES[name] for field in each.model_fields}


@pytest.mark.parametrize("name", ["ChatRequest", "BatchRequest", "ResponseRequest", "MessagesRequest"])
def test_our_fields_are_described_within_the_operators_bounds(name):
    schemas = described(min_keep_ratio=0.2, max_keep_ratio=0.8, keep_ratio=0.5, allow_method=True)["components"]
    fields = schemas["schemas"][name]["properties"]
    assert fields.keys() >= set(REQUEST_FIELDS)
    number = fields["keep_ratio"]["anyOf"][0]
    assert (number["minimum"], number["maximum"]) == (0.2, 0.8)


def test_a_method_that_no_request_may_choose_is_not_described(whole):
    assert "reduction_method" not in whole["components"]["schemas"]["ChatRequest"]["properties"]


def test_every_error_code_is_in_the_schema_of_its_status(whole):
    for code, row in CODES.items():
        error = whole["components"]["schemas"][f"Error{row.status}"]["properties"]["error"]
        assert code in error["properties"]["code"]["enum"]


def test_only_probes_ask_for_no_key(whole):
    open_paths = {path for path, told in whole["paths"].items() for each in told.values() if "security" not in each}
    assert open_paths == PROBES & set(PATHS)


def test_a_server_without_keys_describes_none():
    without = described(keys=False)
    assert "securitySchemes" not in without["components"]
    assert "401" not in without["paths"]["/v1/chat/completions"]["post"]["responses"]


def test_a_route_that_is_not_served_is_not_described():
    facts = Described(["tiny"], 99, 64, False, PROBES, Settings(), request_methods())
    assert document(facts, ["/health"])["paths"].keys() == {"/health"}


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (requests.ChatRequest, {"max_tokens": "5"}),
        (requests.ChatRequest, {"max_tokens": True}),
        (requests.ChatRequest, {"stream": 1}),
        (requests.ChatRequest, {"temperature": "0.5"}),
        (requests.MessagesRequest, {"max_tokens": 5.0}),
    ],
)
def test_a_value_of_another_json_type_is_refused(kind, fields):
    body = {"model": "tiny", "messages": [{"role": "user", "content": "x"}], "max_tokens": 5}
    assert kind.model_validate(body).max_tokens == 5
    with pytest.raises(ValueError, match=f"{next(iter(fields))}"):
        kind.model_validate({**body, **fields})


@pytest.mark.parametrize(("written", "read_as"), [("5.0", 5), ("5e0", 5), ("-0.0", 0), ("5.5", 5.5), ("1e17", 1e17)])
def test_a_whole_number_is_an_integer_however_it_is_written(written, read_as):
    number = read(f'{{"seed": {written}}}'.encode())["seed"]
    assert (number, type(number)) == (read_as, type(read_as))


def test_a_number_may_be_whole_where_it_need_not():
    body = {"messages": [{"role": "user", "content": "x"}], "temperature": 1, "keep_ratio": 1}
    assert requests.ChatRequest.model_validate(body).temperature == 1
