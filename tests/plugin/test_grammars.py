"""What an answer must follow is bounded before any library reads it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sppruner_server.body.grammars import LONGEST, MOST, MOST_OBJECTS, refuse_boundless
from sppruner_server.body.json_body import BadBody
from sppruner_server.body.schema_texts import opened


def schema(inner: Any) -> dict[str, Any]:
    return {"response_format": {"json_schema": {"schema": inner}}}


@pytest.mark.parametrize(
    "body",
    [
        schema({"type": "array", "minItems": MOST, "items": {"$ref": "#/$defs/a"}}),
        schema(
            {"properties": {"minItems": {"type": "string"}, "$ref": {"type": "string"}, "pattern": {"type": "null"}}}
        ),
        schema({"minLength": -(10**30), "maxLength": True, "maxItems": "x", "minProperties": 1e300}),
        {"structured_outputs": {"regex": "a{3,}b{,5}", "json": "not json"}},
        schema({"properties": {str(i): {} for i in range(512)}, "required": "x"}),
        schema({"properties": {str(i): {} for i in range(2000)}, "required": [str(i) for i in range(2000)]}),
        {"tools": [{"function": {"parameters": None}}], "text": "x", "output_config": []},
        {"metadata": {"minItems": 10**9, "const": "a" * (LONGEST + 1)}},
        schema({"const": "a" * LONGEST, "description": "a" * 2 * LONGEST, "properties": {"const": {"title": "b"}}}),
        [],
    ],
    ids=[
        "as much as there may be",
        "names of properties",
        "no counts",
        "open ends",
        "properties that may be left out",
        "properties that may not",
        "no schemas",
        "elsewhere",
        "words beside them",
        "a list",
    ],
)
def test_what_is_small_passes(body: Any) -> None:
    refuse_boundless(opened(body))


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (schema({"type": "array", "minItems": MOST + 1}), "response_format.json_schema.schema.minItems"),
        (schema({"pattern": f"(ab){{{MOST}}}"}), "response_format.json_schema.schema.pattern"),
        (
            schema({"patternProperties": {"a{1, 99999}": {}}}),
            "response_format.json_schema.schema.patternProperties.a{1, 99999}",
        ),
        (schema({"enum": ["a"] * (MOST + 1)}), "response_format.json_schema.schema.enum"),
        (schema({"allOf": [{"maxItems": MOST // 2}] * 3}), "response_format.json_schema.schema.allOf[1].maxItems"),
        ({"structured_outputs": {"regex": "a{" + "9" * 5000 + "}"}}, "structured_outputs.regex"),
        ({"structured_outputs": {"grammar": 'root ::= "a"' * MOST}}, "structured_outputs.grammar"),
        ({"structured_outputs": {"json": '{"maxLength": 1000000}'}}, "structured_outputs.json"),
        ({"text": {"format": {"schema": {"$ref": "other.json"}}}}, "text.format.schema.$ref"),
        (schema({"const": "a" * (LONGEST + 1)}), "response_format.json_schema.schema.const"),
        (schema({"const": {"a": ["b" * (LONGEST + 1)]}}), "response_format.json_schema.schema.const.a[0]"),
        (schema({"enum": ["a" * LONGEST] * 9}), "response_format.json_schema.schema.enum[8]"),
        (schema({"properties": {"a" * (LONGEST + 1): {}}}), "response_format.json_schema.schema.properties"),
        ({"structured_outputs": {"choice": ["b" * (LONGEST + 1)]}}, "structured_outputs.choice[0]"),
        ({"structured_outputs": {"json": '{"const": "%s"}' % ("a" * (LONGEST + 1))}}, "structured_outputs.json.const"),
        (schema({"properties": {str(i): {} for i in range(513)}}), "response_format.json_schema.schema.properties"),
        (
            schema({"properties": {str(i): {} for i in range(2100)}, "required": [str(i) for i in range(2100)]}),
            "response_format.json_schema.schema.properties",
        ),
        (schema({"prefixItems": [{"type": "string"}] * MOST_OBJECTS}), "response_format"),
        ({"structured_outputs": {"json": json.dumps({"anyOf": [{}] * MOST_OBJECTS})}}, "structured_outputs"),
        (schema({"const": {"schema": "a" * (LONGEST + 1)}}), "response_format.json_schema.schema.const.schema"),
        (schema({"enum": [{"json": '"%s"' % ("a" * LONGEST)}]}), "response_format.json_schema.schema.enum[0].json"),
        ({"structured_outputs": {"json": "[" * 10**5}}, "structured_outputs"),
        ({"tools": [{"input_schema": {"minProperties": 10**9}}]}, "tools[0].input_schema.minProperties"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_comes_to_too_much_or_leads_elsewhere_is_refused_by_its_place(body: dict[str, Any], param: str) -> None:
    with pytest.raises(BadBody) as bad:
        refuse_boundless(opened(body))
    assert (bad.value.refusal.code, bad.value.refusal.param) == ("invalid_value", param)
