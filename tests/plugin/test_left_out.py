"""A schema is held to in all its keywords, or refused by the one that is not: asked of the libraries themselves."""

from __future__ import annotations

import json
from typing import Any

import pytest
import xgrammar
from llguidance import LLMatcher, LLTokenizer
from sppruner_server.body.held import leaving_none_out, refuse_unheld, second_holds
from sppruner_server.body.json_body import BadBody
from sppruner_server.body.left_out import NEVER, left_out
from sppruner_server.body.schema_texts import opened
from vllm.v1.structured_output.backend_guidance import serialize_guidance_grammar
from vllm.v1.structured_output.backend_types import StructuredOutputOptions
from vllm.v1.structured_output.backend_xgrammar import has_xgrammar_unsupported_json_features
from xgrammar.testing import _is_grammar_accept_string

INTEGERS = {"a": {"type": "integer"}, "b": {"type": "integer"}}
OBJECT = {"type": "object", "properties": INTEGERS}
CLOSED = {**OBJECT, "additionalProperties": False}
TEXT = {"$defs": {"s": {"type": "string"}}}

unsupported = leaving_none_out(has_xgrammar_unsupported_json_features)


def xgrammar_takes(schema: dict[str, Any], value: Any) -> bool:
    return _is_grammar_accept_string(xgrammar.Grammar.from_json_schema(json.dumps(schema)), json.dumps(value))


def llguidance_takes(schema: dict[str, Any], value: Any) -> bool:
    tokenizer = LLTokenizer("byte")
    matcher = LLMatcher(tokenizer, serialize_guidance_grammar(StructuredOutputOptions.JSON, schema))
    return matcher.consume_tokens(tokenizer.tokenize_str(json.dumps(value))) and matcher.is_accepting()


@pytest.mark.parametrize(
    ("schema", "good", "bad", "keyword"),
    [
        ({"minLength": 3}, "abc", "a", "minLength"),
        ({"minimum": 3}, 4, 2, "minimum"),
        ({"multipleOf": 3}, 6, 7, "multipleOf"),
        ({"pattern": "^a$"}, "a", "b", "pattern"),
        ({"required": ["a"]}, {"a": 1}, {}, "required"),
        ({"minItems": 2}, [1, 2], [1], "minItems"),
        ({"patternProperties": {"^a": {"type": "integer"}}}, None, None, "patternProperties"),
        ({**OBJECT, "required": ["c"]}, {"c": 1}, {"a": 1}, "required"),
        ({"type": "integer", "enum": [1, 5], "minimum": 3}, 5, 1, "minimum"),
        ({"type": "integer", "enum": [1, "a"]}, 1, "a", "type"),
        ({"type": "string", "pattern": "^2020", "format": "date"}, "2020-01-01", "2021-01-01", "format"),
        ({**CLOSED, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}, {"a": 1}, {}, "properties"),
        ({**OBJECT, "allOf": [{"required": ["a"]}]}, {"a": 1}, {}, "properties"),
        ({"type": "string", "allOf": [{"maxLength": 1}]}, "a", "ab", "type"),
        ({"$ref": "#/$defs/s", "maxLength": 2, **TEXT}, "ab", "abc", "maxLength"),
        ({"$ref": "#s", "$defs": {"s": {"$anchor": "s", "type": "string"}}}, "a", 1, "$ref"),
    ],
    ids=lambda value: json.dumps(value)[:40],
)
def test_what_xgrammar_leaves_out_goes_to_a_library_that_holds_it(
    schema: dict[str, Any], good: Any, bad: Any, keyword: str
) -> None:
    assert left_out(schema) == (keyword,)
    if good is None:
        assert not second_holds(schema)  # patternProperties are none of its
        return
    assert not xgrammar_takes(schema, good) or xgrammar_takes(schema, bad), "xgrammar looks at it now"
    assert unsupported(schema)
    assert (llguidance_takes(schema, good), llguidance_takes(schema, bad)) == (True, False)


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"not": {"type": "string"}}, 1, "a"),
        ({**OBJECT, "if": {"required": ["a"]}, "then": {"required": ["b"]}}, {"a": 1, "b": 1}, {"a": 1}),
        ({**OBJECT, "dependentRequired": {"a": ["b"]}}, {"a": 1, "b": 1}, {"a": 1}),
        ({**OBJECT, "dependentSchemas": {"a": {"required": ["b"]}}}, {"a": 1, "b": 1}, {"a": 1}),
        ({**OBJECT, "dependencies": {"a": ["b"]}}, {"a": 1, "b": 1}, {"a": 1}),
        ({"type": "array", "items": {"type": "integer"}, "uniqueItems": True}, [1, 2], [1, 1]),
        ({"contains": {"const": 1}}, [1, 2], [2, 2]),
        ({"$dynamicRef": "#s", "$defs": {"s": {"$dynamicAnchor": "s", "type": "string"}}}, "a", 1),
    ],
    ids=lambda value: json.dumps(value)[:40],
)
def test_what_nothing_holds_is_refused_by_its_place(schema: dict[str, Any], good: Any, bad: Any) -> None:
    assert xgrammar_takes(schema, good)
    assert xgrammar_takes(schema, bad), "xgrammar looks at it now"
    assert not second_holds(schema)
    keyword = next(name for name in schema if name in NEVER)
    wrapped = {"type": "object", "properties": {"inner": schema}, "$defs": schema.get("$defs", {})}
    for body, place in (
        ({"response_format": {"json_schema": {"schema": wrapped}}}, "response_format.json_schema.schema"),
        ({"structured_outputs": {"json": json.dumps(wrapped)}}, "structured_outputs.json"),
        ({"text": {"format": {"schema": wrapped}}}, "text.format.schema"),
        ({"output_config": {"format": {"schema": wrapped}}}, "output_config.format.schema"),
        ({"tools": [{"function": {"strict": True, "parameters": wrapped}}]}, "tools[0].function.parameters"),
        ({"tools": [{"strict": True, "input_schema": wrapped}]}, "tools[0].input_schema"),
        (
            {"response_format": {"type": "structural_tag", "structures": [{"schema": wrapped}]}},
            "response_format.structures[0].schema",
        ),
        (
            {"structured_outputs": {"structural_tag": json.dumps({"format": {"json_schema": wrapped}})}},
            "structured_outputs.structural_tag.format.json_schema",
        ),
    ):
        with pytest.raises(BadBody) as bad_body:
            refuse_unheld(opened(body))
        refusal = bad_body.value.refusal
        assert (refusal.code, refusal.param) == ("unsupported_parameter", f"{place}.properties.inner.{keyword}")


@pytest.mark.parametrize(
    "schema",
    [
        {**CLOSED, "required": ["a"], "title": "A", "description": "not", "default": {"not": 1}},
        {"type": "object", "properties": {"not": {"type": "string"}, "if": {"const": {"uniqueItems": True}}}},
        {"type": ["string", "null"], "enum": ["a", None]},
        {"type": "number", "const": 3},
        {"$ref": "#/$defs/s", "description": "x", "default": "y", **TEXT},
        {"anyOf": [{"$ref": "#/$defs/s"}, {"type": "null"}], "default": None, "title": "x", **TEXT},
        {"allOf": [{"$ref": "#/$defs/s"}], "description": "x", **TEXT},
        {"oneOf": [{"$ref": "#/$defs/s"}, {"type": "null"}], "discriminator": {"propertyName": "k"}, **TEXT},
        {"type": "array", "minItems": 1, "items": {"type": "object", "anyOf": [CLOSED, {"properties": INTEGERS}]}},
        {"properties": INTEGERS, "required": ["a"]},
        {"type": "array", "items": {"type": "integer"}, "uniqueItems": False},
        {"type": "object", "propertyNames": {"type": "string"}, "additionalProperties": {"type": "integer"}},
        {"if": {"required": ["a"]}},
        {"type": "object", "properties": 3, "required": "a", "items": {"anyOf": 1, "type": 5}},
        {"properties": {"a": {"enum": {"b": 1}, "type": [None, {}, "string"]}, "b": {"type": "str"}}},
        True,
        None,
    ],
    ids=lambda value: json.dumps(value)[:50],
)
def test_what_people_write_stays_with_xgrammar(schema: Any) -> None:
    assert left_out(schema) is None
    refuse_unheld(opened({"response_format": {"json_schema": {"schema": schema}}}))


def test_what_need_not_be_strict_is_held_to_what_can_be_held() -> None:
    schema = {**OBJECT, "not": {"required": ["a"]}}
    refuse_unheld(opened({"tools": [{"function": {"parameters": schema}}, {"input_schema": schema, "strict": False}]}))
    assert not unsupported(schema)
    refuse_unheld(opened({"response_format": {"json_schema": {"schema": schema, "strict": False}}}))
    refuse_unheld(opened({"text": {"format": {"type": "json_schema", "schema": schema, "strict": False}}}))
