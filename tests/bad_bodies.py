"""Bodies that no endpoint can use, and what is right to answer, for the tests of a running server."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from serving import MODEL_NAME, data_url, png

CHAT, BATCH, RESPONSES = "/v1/chat/completions", "/v1/chat/completions/batch", "/v1/responses"
MESSAGES, COUNT, COMPLETIONS = "/v1/messages", "/v1/messages/count_tokens", "/v1/completions"
TOKENIZE, DETOKENIZE, INVOCATIONS = "/tokenize", "/detokenize", "/invocations"

PICTURE = data_url(png(56, 56))

_TURN = [{"role": "user", "content": "hello"}]

GOOD: dict[str, dict[str, Any]] = {
    CHAT: {"messages": _TURN, "max_tokens": 1},
    BATCH: {"messages": [_TURN], "max_tokens": 1},
    RESPONSES: {"input": "hello", "max_output_tokens": 1},
    MESSAGES: {"messages": _TURN, "max_tokens": 1},
    COUNT: {"messages": _TURN},
    COMPLETIONS: {"prompt": "hello", "max_tokens": 1},
    TOKENIZE: {"prompt": "hello"},
    DETOKENIZE: {"tokens": [1]},
    INVOCATIONS: {"messages": _TURN, "max_tokens": 1},
}
"""A body for each endpoint, without the model; short, as a good one is sent behind each bad one."""

STREAMING = (CHAT, RESPONSES, MESSAGES, COMPLETIONS, INVOCATIONS)


def good(path: str, **fields: Any) -> dict[str, Any]:
    """A body that an endpoint answers, with some fields changed."""
    return {"model": MODEL_NAME, **GOOD[path], **fields}


@dataclass(frozen=True, slots=True)
class Sent:
    """What is sent and what is to come back.

    content: the body. headers: beside the content type. param: None where it is not looked at.
    """

    content: bytes
    code: str
    param: str | None = None
    status: int = 400
    headers: Mapping[str, str] = field(default_factory=dict)


def _around(path: str, name: str, value: bytes) -> bytes:
    """A good body with a field that is written out by hand."""
    return json.dumps(good(path)).encode()[:-1] + b', "%s": %s}' % (name.encode(), value)


UNREADABLE: dict[str, Callable[[str], Sent]] = {
    "nothing": lambda _: Sent(b"", "invalid_json"),
    "half an object": lambda _: Sent(b'{"model": ', "invalid_json"),
    "words": lambda _: Sent(b"hello", "invalid_json"),
    "two documents": lambda path: Sent(json.dumps(good(path)).encode() * 2, "invalid_json"),
    "a trailing comma": lambda _: Sent(b'{"model": "tiny",}', "invalid_json"),
    "2000 lists": lambda path: Sent(_around(path, "x", b"[" * 2000 + b"]" * 2000), "invalid_json"),
    "100000 lists": lambda path: Sent(_around(path, "x", b"[" * 100_000 + b"]" * 100_000), "invalid_json"),
    "2000 objects": lambda path: Sent(_around(path, "x", b'{"a":' * 2000 + b"1" + b"}" * 2000), "invalid_json"),
    "brackets without end": lambda _: Sent(b"[" * 100_000, "invalid_json"),
    "latin-1": lambda _: Sent('{"model": "é"}'.encode("latin-1"), "invalid_json"),
    "utf-16": lambda path: Sent(json.dumps(good(path)).encode("utf-16"), "invalid_json"),
    "5000 digits": lambda path: Sent(_around(path, "max_tokens", b"9" * 5000), "invalid_json"),
    "NaN": lambda path: Sent(_around(path, "temperature", b"NaN"), "invalid_value", "temperature"),
    "beyond any float": lambda path: Sent(_around(path, "temperature", b"1e999"), "invalid_value", "temperature"),
    "half a character": lambda path: Sent(_around(path, "user", rb'"a \ud800 b"'), "invalid_value", "user"),
    "half a character below": lambda path: Sent(
        _around(path, "metadata", rb'{"a": ["\udfff"]}'), "invalid_value", "metadata.a[0]"
    ),
    "half a character as a name": lambda path: Sent(_around(path, "metadata", rb'{"\ud800": 1}'), "invalid_value"),
    "the price twice": lambda path: Sent(
        _around(path, "keep_ratio", b'1.0, "keep_ratio": 0.1'), "invalid_value", "keep_ratio"
    ),
    "twice, and equal": lambda path: Sent(
        _around(path, "keep_tokens", b'4, "keep_tokens": 4'), "invalid_value", "keep_tokens"
    ),
    "twice by another spelling": lambda path: Sent(
        _around(path, "keep_ratio", rb'1.0, "\u006beep_ratio": 0.1'), "invalid_value", "keep_ratio"
    ),
    "the model twice": lambda path: Sent(_around(path, "model", b'"another"'), "invalid_value", "model"),
    "twice below": lambda path: Sent(
        _around(path, "metadata", b'{"a": [0, {"b": 1, "b": {"c": 1, "c": 2}}]}'), "invalid_value", "metadata.a[1].b"
    ),
    "twice where plain vLLM takes it": lambda path: Sent(
        _around(path, "mm_processor_kwargs", b'{"keep_ratio": 1, "keep_ratio": 0.1}'),
        "invalid_value",
        "mm_processor_kwargs.keep_ratio",
    ),
    "a million commas": lambda path: Sent(_around(path, "x", b"[" + b"0," * 2**20 + b"0]"), "invalid_json"),
    "100000 objects": lambda path: Sent(_around(path, "x", b"[" + b"{}," * 100_000 + b"0]"), "invalid_json"),
    "a control character": lambda path: Sent(_around(path, "user", b'"a\x01b"'), "invalid_json"),
    "utf-32": lambda path: Sent(json.dumps(good(path)).encode("utf-32"), "invalid_json"),
    "utf-16 without a mark": lambda path: Sent(json.dumps(good(path)).encode("utf-16-le"), "invalid_json"),
    "packed, said twice": lambda path: Sent(
        gzip.compress(json.dumps(good(path)).encode()),
        "unsupported_media_type",
        status=415,
        headers={"content-encoding": "identity, gzip"},
    ),
    "a list": lambda path: Sent(b"[]", "invalid_json" if path != INVOCATIONS else "invalid_value"),
    "packed": lambda path: Sent(
        gzip.compress(json.dumps(good(path)).encode()),
        "unsupported_media_type",
        status=415,
        headers={"content-encoding": "gzip"},
    ),
    "packed and not said so": lambda path: Sent(gzip.compress(json.dumps(good(path)).encode()), "invalid_json"),
    "as text": lambda path: Sent(
        json.dumps(good(path)).encode(),
        "unsupported_media_type",
        status=415,
        headers={"content-type": "text/plain"},
    ),
}
"""What no reader of JSON takes, for any endpoint, by what it is."""


def misplaced(path: str) -> dict[str, Sent]:
    """Bodies with a field of ours where it would be lost, by the name that the answer gives to the place."""
    bodies: dict[str, dict[str, Any]] = {
        name: good(path, **{name: 0.2})
        for name in ("keepratio", "keep_ration", "keep-ratio", "KEEP_RATIO", "keep_rate", "kep_ratio", "keepTokens")
    }
    bodies |= {
        f"{place}.keep_ratio": good(path, **{place: {"keep_ratio": 0.2}})
        for place in ("extra_body", "vllm_xargs", "chat_template_kwargs", "media_io_kwargs")
    }
    bodies["extra_body.keep_tokens"] = good(path, extra_body={"keep_tokens": 4})
    bodies["mm_processor_kwargs.keepratio"] = good(path, mm_processor_kwargs={"keepratio": 0.2})
    bodies["mm_processor_kwargs.images_kwargs.keep_ratio"] = good(
        path, mm_processor_kwargs={"images_kwargs": {"keep_ratio": 0.2}}
    )
    return {name: Sent(json.dumps(body).encode(), "unknown_parameter", name) for name, body in bodies.items()}


def misplaced_in_content() -> dict[tuple[str, str], Sent]:
    """The same inside messages, by endpoint and place."""
    text = {"type": "text", "text": "hello"}
    picture = {"type": "image_url", "image_url": {"url": PICTURE}}
    source = {"type": "base64", "media_type": "image/png", "data": PICTURE.partition(",")[2]}
    ratio = {"keep_ratio": 0.2}
    image = {"type": "image", "source": source}

    def turn(*parts: object, **fields: object) -> list[dict[str, object]]:
        return [{"role": "user", "content": list(parts), **fields}]

    bodies = {
        (CHAT, "messages[0].keep_ratio"): good(CHAT, messages=turn(picture, text, **ratio)),
        (CHAT, "messages[0].content[0].keep_ratio"): good(CHAT, messages=turn({**picture, **ratio}, text)),
        (CHAT, "messages[0].content[1].keep_ratio"): good(CHAT, messages=turn(picture, {**text, **ratio})),
        (CHAT, "messages[0].content[0].image_url.focus_query"): good(
            CHAT, messages=turn({"type": "image_url", "image_url": {"url": PICTURE, "focus_query": "cat"}}, text)
        ),
        (CHAT, "messages[0].content[0].image_url.keepTokens"): good(
            CHAT, messages=turn({"type": "image_url", "image_url": {"url": PICTURE, "keepTokens": 4}}, text)
        ),
        (BATCH, "messages[0][0].content[0].keep_ratio"): good(BATCH, messages=[turn({**picture, **ratio}, text)]),
        (RESPONSES, "input[0].content[0].keep_tokens"): good(
            RESPONSES, input=turn({"type": "input_image", "image_url": PICTURE, "keep_tokens": 4})
        ),
        (RESPONSES, "input[0].content[0].keep_ratio"): good(
            RESPONSES, input=turn({"type": "input_text", "text": "hello", **ratio})
        ),
        (MESSAGES, "messages[0].content[1].keep_ratio"): good(MESSAGES, messages=turn(image, {**text, **ratio})),
        (MESSAGES, "messages[0].content[0].source.keep_ratio"): good(
            MESSAGES, messages=turn({**image, "source": {**source, **ratio}}, text)
        ),
        (COUNT, "messages[0].content[0].keep_tokens_total"): good(
            COUNT, messages=turn({**image, "keep_tokens_total": 4}, text)
        ),
    }
    return {key: Sent(json.dumps(body).encode(), "unknown_parameter", key[1]) for key, body in bodies.items()}


NOT_OURS: dict[str, dict[str, Any]] = {
    "metadata": {"metadata": {"keep_ratio": "a note of the client's"}},
    "a tool's parameter": {
        "tools": [{"type": "function", "function": {"name": "x", "parameters": {"properties": {"keep_ratio": {}}}}}],
        "tool_choice": "none",
    },
    "another server's field": {"keep_alive": "5m"},
    "a schema": {
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "x", "schema": {"type": "object", "properties": {"keep_ratio": {}}}},
        }
    },
}
"""Fields of a chat that have our names, or nearly, and mean something else."""


def _part(part: object) -> list[dict[str, object]]:
    return [{"role": "user", "content": [part, {"type": "text", "text": "hello"}]}]


def _schema(schema: dict[str, Any]) -> dict[str, Any]:
    """That an answer has to follow a schema."""
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}}


_TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
_FORCED = {"type": "function", "function": {"name": "f"}}


def _call(arguments: str) -> dict[str, Any]:
    """An answer that called a tool."""
    function = {"name": "f", "arguments": arguments}
    return {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": function}]}


WRONG_VALUES: dict[str, tuple[str, dict[str, Any]]] = {
    "structured_outputs []": (CHAT, {"structured_outputs": []}),
    "a part of type null": (CHAT, {"messages": _part({"type": None, "image_url": {"url": PICTURE}})}),
    "a part without type": (CHAT, {"messages": _part({"image_url": 7})}),
    "a part that is a number": (CHAT, {"messages": _part(7)}),
    "image_url null": (CHAT, {"messages": _part({"type": "image_url", "image_url": None})}),
    "image_url a list": (CHAT, {"messages": _part({"type": "image_url", "image_url": [PICTURE]})}),
    "an empty url": (CHAT, {"messages": _part({"type": "image_url", "image_url": {"url": ""}})}),
    "a url null": (CHAT, {"messages": _part({"type": "image_url", "image_url": {"url": None}})}),
    "input_audio a string": (CHAT, {"messages": _part({"type": "input_audio", "input_audio": "x"})}),
    "a picture as a video": (CHAT, {"messages": _part({"type": "video_url", "video_url": {"url": PICTURE}})}),
    "a picture by path": (CHAT, {"messages": _part({"type": "image_pil", "image_pil": "x"})}),
    "image_embeds a string": (CHAT, {"messages": _part({"type": "image_embeds", "image_embeds": "x"})}),
    "stream_interval huge": (CHAT, {"stream_interval": 10**30}),
    "routed_experts_prompt_start": (CHAT, {"routed_experts_prompt_start": 2**64}),
    "seed huge": (CHAT, {"seed": 2**64}),
    "priority huge": (CHAT, {"priority": -(10**30)}),
    "n huge": (CHAT, {"n": 10**30}),
    "max_tokens huge": (CHAT, {"max_tokens": 10**30}),
    "a schema of itself": (
        CHAT,
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"$ref": "#"}}}},
    ),
    "a thousand million items": (CHAT, _schema({"type": "array", "minItems": 10**9})),
    "a thousand million letters": (
        MESSAGES,
        {"output_config": {"format": {"type": "json_schema", "schema": {"type": "string", "maxLength": 10**9}}}},
    ),
    "a pattern of a thousand million": (
        CHAT,
        _schema({"type": "object", "patternProperties": {"^a{1000000000}$": {}}}),
    ),
    "a regex of a thousand million": (COMPLETIONS, {"structured_outputs": {"regex": "(ab{2,3}){1,1000000000}"}}),
    "a schema in a text": (CHAT, {"structured_outputs": {"json": '{"type": "array", "maxItems": 1000000000}'}}),
    "many that are within": (CHAT, _schema({"anyOf": [{"type": "string", "maxLength": 10_000}] * 7})),
    "a list of very many": (CHAT, _schema({"enum": list(range(70_000))})),
    "a very long pattern": (CHAT, {"structured_outputs": {"regex": "a" * 70_000}}),
    "very many bad words": (COMPLETIONS, {"bad_words": ["a"] * 10_000}),
    "a schema of somewhere else": (CHAT, _schema({"$ref": "http://127.0.0.1:9/schema"})),
    "a power without end": (CHAT, {"use_beam_search": True, "n": 2, "length_penalty": 1e308}),
    "a choice of no tools": (MESSAGES, {"tool_choice": {"type": "any"}}),
    "an empty stop": (MESSAGES, {"stop_sequences": [""]}),
    "a budget beyond the answer": (MESSAGES, {"thinking": {"type": "enabled", "budget_tokens": 5000}}),
    "an unknown tool": (
        MESSAGES,
        {"tools": [{"name": "f", "input_schema": {}}], "tool_choice": {"type": "tool", "name": "g"}},
    ),
    "a regex that does not end": (CHAT, {"structured_outputs": {"regex": "("}}),
    "nothing left of the prompt": (CHAT, {"truncate_prompt_tokens": 0}),
    "too many alternatives": (CHAT, {"logprobs": True, "top_logprobs": 100}),
    "what the template takes by itself": (CHAT, {"chat_template_kwargs": {"messages": []}}),
    "a grammar of itself": (CHAT, {"structured_outputs": {"grammar": "root ::= root"}}),
    "no such token": (CHAT, {"logit_bias": {"99999999": 1}}),
    "truncate_prompt_tokens -5": (CHAT, {"truncate_prompt_tokens": -5}),
    "truncate_prompt_tokens huge": (CHAT, {"truncate_prompt_tokens": 10**9}),
    "too long": (CHAT, {"messages": [{"role": "user", "content": "a " * 6000}]}),
    "a batch of nothing": (BATCH, {"messages": [[]]}),
    "input a number": (RESPONSES, {"input": 7}),
    "an input without type": (RESPONSES, {"input": [{"x": 1}]}),
    "a huge answer": (RESPONSES, {"max_output_tokens": 10**30}),
    "prompt of a huge token": (COMPLETIONS, {"prompt": [2**64]}),
    "prompt of a negative token": (COMPLETIONS, {"prompt": [-1]}),
    "a huge logprobs": (COMPLETIONS, {"logprobs": 10**30}),
    "max_tokens 0": (MESSAGES, {"max_tokens": 0}),
    "a huge message": (MESSAGES, {"max_tokens": 10**30}),
    "an output of itself": (
        MESSAGES,
        {"output_config": {"format": {"type": "json_schema", "schema": {"$ref": "#"}}}},
    ),
    "tokens of a huge number": (DETOKENIZE, {"tokens": [2**64]}),
    "tokens below zero": (DETOKENIZE, {"tokens": [-1]}),
    "tokens null": (DETOKENIZE, {"tokens": None}),
    "a text that is none": (TOKENIZE, {"prompt": {"x": 1}}),
    "nobody's invocation": (INVOCATIONS, {"messages": 7}),
    "a very long word": (CHAT, _schema({"const": "a" * 20_000})),
    "a very long choice": (COMPLETIONS, {"structured_outputs": {"choice": ["a" * 20_000]}}),
    "far too long": (CHAT, {"messages": [{"role": "user", "content": "a" * 70_000}]}),
    "far too long a message": (MESSAGES, {"messages": [{"role": "user", "content": "a" * 70_000}]}),
    "far too long an input": (RESPONSES, {"input": "a" * 70_000}),
    "far too long a prompt": (COMPLETIONS, {"prompt": "a" * 70_000}),
    "far too long a text": (TOKENIZE, {"prompt": "a" * (2**19 + 1)}),
    "far too many tokens": (DETOKENIZE, {"tokens": [1] * (2**18 + 1)}),
    "nobody's token": (DETOKENIZE, {"tokens": [1, 10**6]}),
    "a forced tool that is there twice": (CHAT, {"tools": [_TOOL] * 2, "tool_choice": _FORCED}),
    "a forced tool that is not there": (
        RESPONSES,
        {"tools": [{"type": "function", "name": "f"}], "tool_choice": {"type": "function", "name": "g"}},
    ),
    "deep arguments": (CHAT, {"messages": [*_TURN, _call('{"a":' + "[" * 5000 + "]" * 5000 + "}")]}),
    "arguments of many digits": (CHAT, {"messages": [*_TURN, _call('{"a":' + "9" * 5000 + "}")]}),
    "an earlier call of many digits": (
        RESPONSES,
        {"input": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": "9" * 5000}]},
    ),
    "what is for connectors": (CHAT, {"vllm_xargs": {"kv_transfer_params": "x"}}),
    "beams that follow a choice": (CHAT, {"use_beam_search": True, "n": 2, "structured_outputs": {"choice": ["a"]}}),
    "beams that stop": (COMPLETIONS, {"use_beam_search": True, "stop": "a"}),
    "beams that must call": (CHAT, {"use_beam_search": True, "tools": [_TOOL], "tool_choice": "required"}),
    "more beams than there may be": (CHAT, {"use_beam_search": True, "n": 11}),
    "a schema that nothing holds": (
        CHAT,
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"not": {"const": 1}}}}},
    ),
    "a tag that nothing holds": (
        COMPLETIONS,
        {
            "structured_outputs": {
                "structural_tag": json.dumps(
                    {"type": "structural_tag", "format": {"type": "json_schema", "json_schema": {"minLength": 3}}}
                )
            }
        },
    ),
    "a strict tool that nothing holds": (
        MESSAGES,
        {
            "tools": [
                {"name": "f", "strict": True, "input_schema": {"type": "object", "dependentRequired": {"a": ["b"]}}}
            ]
        },
    ),
    "a choice among tools that are not there": (
        RESPONSES,
        {
            "tools": [{"type": "function", "name": "f", "parameters": {}}],
            "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "g"}]},
        },
    ),
    "pictures beside the messages": (CHAT, {"images": [PICTURE]}),
    "pictures beside the content": (CHAT, {"messages": [{**_TURN[0], "images": [PICTURE]}]}),
    "pictures beside a prompt": (COMPLETIONS, {"multi_modal_data": {"image": PICTURE}}),
    "an answer that is begun": (CHAT, {"messages": [*_TURN, {"role": "assistant", "content": "a", "prefix": True}]}),
    "an output without a schema": (MESSAGES, {"output_config": {"format": {"type": "json_schema"}}}),
    "a result of the assistant": (
        MESSAGES,
        {"messages": [*_TURN, {"role": "assistant", "content": [{"type": "tool_result", "tool_use_id": "a"}]}]},
    ),
    "thought that nothing bounds": (
        MESSAGES,
        {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2000},
    ),
    "a sound": (
        CHAT,
        {"messages": _part({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}})},
    ),
    "a prompt of numbers": (CHAT, {"messages": _part({"type": "prompt_embeds", "data": "AAAA"})}),
    "a ratio among parameters": (CHAT, {"parameters": {"keep_ratio": 0.5}}),
    "a uuid of a text": (CHAT, {"messages": _part({"type": "text", "text": "a", "uuid": "x"})}),
    "an argument beyond 64 bits": (CHAT, {"vllm_xargs": {"a": 2**70}}),
    "a uuid of nothing": (CHAT, {"messages": _part({"type": "image_url", "image_url": None, "uuid": ""})}),
    "a uuid without end": (
        CHAT,
        {"messages": _part({"type": "image_url", "image_url": {"url": PICTURE}, "uuid": "a" * 257})},
    ),
    "an id of the client's": (RESPONSES, {"request_id": "resp_1"}),
}
"""An endpoint, and fields of JSON's own types that it cannot use."""
