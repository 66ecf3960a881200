"""Good bodies with as many members as an API has: what the matrix begins with. Each is answered with a 200."""

from __future__ import annotations

from .bodies import SCHEMA, TOOL, Body, Good, picture

CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"seen": "cat"}'}}
FUNCTION = {"type": "function", "function": {**TOOL, "strict": True}}
TEXT = "what is this"
FIELDS = {
    "repetition_detection": {"max_pattern_size": 4, "min_pattern_size": 1, "min_count": 9},
    "structured_outputs": {"choice": ["cat", "dog"]},
    "vllm_xargs": {"a": "b"},
    "logit_bias": {"5": 1.5},
}


def _conversation() -> list[Body]:
    image = {"type": "image_url", "image_url": {"url": picture(), "detail": "auto"}, "uuid": None}
    return [
        {"role": "system", "content": [{"type": "text", "text": "be brief"}]},
        {"role": "user", "name": "ann", "content": [image, {"type": "text", "text": TEXT}]},
        {"role": "assistant", "content": None, "reasoning": "hm", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "a cat"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "a cat"}], "refusal": None},
        {"role": "user", "content": TEXT},
    ]


def _items() -> list[Body]:
    image = {"type": "input_image", "image_url": picture(), "detail": "auto"}
    return [
        {"type": "message", "role": "user", "content": [image, {"type": "input_text", "text": TEXT}]},
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
        {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_1", "output": [{"type": "input_text", "text": "a cat"}]},
        {
            "type": "message",
            "role": "assistant",
            "id": "msg_1",
            "status": "completed",
            "content": [{"type": "output_text", "text": "a cat", "annotations": []}],
        },
        {"type": "message", "role": "user", "content": TEXT},
    ]


def _blocks() -> list[Body]:
    source = {"type": "base64", "media_type": "image/png", "data": picture().partition(",")[2]}
    image = {"type": "image", "source": source}
    return [
        {"role": "user", "content": [image, {"type": "text", "text": TEXT}]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"seen": "cat"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "a cat"}]},
                {"type": "text", "text": TEXT},
            ],
        },
    ]


def whole(model: str) -> list[Good]:
    """Those bodies, in a fixed order: of each path the first has all that stands together.

    Args:
        model: the name under which the server serves its model.
    """
    few, chats = {"max_tokens": 2, "temperature": 0}, "/v1/chat/completions"
    nested = {"mm_processor_kwargs": {"keep_ratio": 0.5}}
    schema = {"type": "json_schema", "json_schema": {"name": "a", "description": "b", "schema": SCHEMA, "strict": True}}
    custom = {"name": "look", "description": "looks", "input_schema": SCHEMA}
    tool = {"type": "function", **TOOL, "strict": True}
    requests = [
        Good(chats, {"messages": _conversation(), "tools": [FUNCTION], "tool_choice": "auto", **few}, True),
        Good(chats, {"messages": _conversation()[:2], "response_format": schema, **nested, **few}, True),
        Good(chats, {"messages": _conversation()[-1:], **FIELDS, **few}, True),
        Good(f"{chats}/batch", {"messages": [_conversation(), _conversation()[-1:]], **few}),
        Good("/v1/visual-tokens", {"messages": _conversation()[:2], "keep_ratio": 0.5, **few}),
        Good(
            "/v1/responses",
            {"input": _items(), "tools": [tool], "tool_choice": "auto", "max_output_tokens": 16, "store": False},
            True,
        ),
        Good(
            "/v1/responses",
            {
                "input": TEXT,
                "reasoning": {"effort": "low"},
                "metadata": {"a": "b"},
                "store": False,
                "text": {"format": {"type": "json_schema", "name": "a", "schema": SCHEMA, "strict": True}},
                "max_output_tokens": 16,
            },
            True,
        ),
        Good("/v1/completions", {"prompt": TEXT, **few, **FIELDS}, True),
        Good("/v1/completions", {"prompt": [[1, 2], [3]], "response_format": schema, **few}, True),
        Good(
            "/v1/messages",
            {
                "messages": _blocks(),
                "system": [{"type": "text", "text": "be brief"}],
                "max_tokens": 2,
                "tools": [custom],
                "tool_choice": {"type": "auto"},
                "metadata": {"user_id": "u"},
                "thinking": {"type": "disabled"},
            },
            True,
        ),
        Good(
            "/v1/messages",
            {
                "messages": [{"role": "user", "content": TEXT}],
                "max_tokens": 2,
                "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
            },
            True,
        ),
        Good("/v1/messages/count_tokens", {"messages": _blocks(), "tools": [custom]}),
        Good("/tokenize", {"messages": _conversation(), "tools": [FUNCTION]}),
        Good("/tokenize", {"prompt": TEXT}),
        Good("/detokenize", {"tokens": [1, 2, 3]}),
        Good("/invocations", {"messages": _conversation()[:2], **few}, True),
    ]
    return [Good(one.path, {"model": model, **one.body}, one.streams) for one in requests]
