"""Good bodies for every endpoint that takes one: what the mutations begin with. Each is answered with a 200."""

from __future__ import annotations

import base64
import io
import random
from dataclasses import dataclass
from functools import cache
from typing import Any

from PIL import Image

Body = dict[str, Any]

SCHEMA = {
    "type": "object",
    "properties": {"seen": {"enum": ["cat", "dog"]}, "sure": {"type": "boolean"}},
    "required": ["seen", "sure"],
    "additionalProperties": False,
}
TOOL = {"name": "look", "description": "looks", "parameters": SCHEMA}


@dataclass(frozen=True, slots=True)
class Good:
    """A request that is fine: where it goes and what it says."""

    path: str
    body: Body
    streams: bool = False


@cache
def picture(seed: int = 0) -> str:
    """A small PNG as a data URL: 56x56, four visual tokens on Qwen2.5-VL."""
    noise = Image.frombytes("RGB", (8, 8), random.Random(seed).randbytes(8 * 8 * 3)).resize((56, 56))
    buffer = io.BytesIO()
    noise.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _chat(*, seen: bool = True, **fields: Any) -> Body:
    image = {"type": "image_url", "image_url": {"url": picture()}}
    text = {"type": "text", "text": "what is this"}
    content: Any = [image, text] if seen else "what is this"
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": content}]
    return {"messages": messages, "max_tokens": 2, "temperature": 0, **fields}


def _response(**fields: Any) -> Body:
    image = {"type": "input_image", "image_url": picture(), "detail": "auto"}
    content = [image, {"type": "input_text", "text": "what is this"}]
    return {"input": [{"role": "user", "content": content}], "max_output_tokens": 16, "store": False, **fields}


def _message(**fields: Any) -> Body:
    source = {"type": "base64", "media_type": "image/png", "data": picture().partition(",")[2]}
    content = [{"type": "image", "source": source}, {"type": "text", "text": "what is this"}]
    return {"messages": [{"role": "user", "content": content}], **fields}


def good(model: str) -> list[Good]:
    """Every good request, in a fixed order.

    Args:
        model: the name under which the server serves its model.
    """
    chat, talk = "/v1/chat/completions", {"max_tokens": 2}
    function = {"type": "function", "function": TOOL}
    named = {"type": "function", "function": {"name": "look"}}
    schema = {"type": "json_schema", "json_schema": {"name": "sight", "schema": SCHEMA, "strict": True}}
    requests = [
        Good(chat, _chat(), True),
        Good(chat, _chat(keep_ratio=0.5, focus_query="the cat", focus_scope="question"), True),
        Good(chat, _chat(keep_tokens=2, n=2, temperature=0.7, seed=3, top_p=0.9, stop=["x"]), True),
        Good(chat, _chat(keep_ratio=1, mm_processor_kwargs={"keep_ratio": 1}, logprobs=True, top_logprobs=2), True),
        Good(chat, _chat(seen=False, tools=[function], tool_choice=named, max_tokens=48), True),
        Good(chat, _chat(seen=False, response_format=schema, max_tokens=48), True),
        Good(chat, _chat(structured_outputs={"choice": ["cat", "dog"]}, max_tokens=8), True),
        Good(chat, _chat(seen=False, logit_bias={"5": 1.5}, user="u", frequency_penalty=0.5, min_p=0.1), True),
        Good("/v1/chat/completions/batch", _chat(keep_ratio=0.5) | {"messages": [_chat()["messages"]] * 2}),
        Good("/v1/responses", _response(), True),
        Good("/v1/responses", _response(keep_ratio=0.5, temperature=0, top_p=0.5, instructions="look"), True),
        Good("/v1/responses", {"input": "what is this", "max_output_tokens": 16, "store": False}, True),
        Good("/v1/completions", {"prompt": "what is this", "temperature": 0, "logprobs": 1, **talk}, True),
        Good("/v1/completions", {"prompt": [[1, 2, 3], [4]], "n": 1, "echo": True, "stop": "x", **talk}, True),
        Good("/v1/messages", _message(**talk, keep_ratio=0.5), True),
        Good("/v1/messages", _message(**talk, system="be brief", temperature=0, stop_sequences=["x"]), True),
        Good("/v1/messages/count_tokens", _message(keep_ratio=0.5)),
        Good("/tokenize", {"prompt": "what is this", "add_special_tokens": False}),
        Good("/tokenize", {"messages": _chat()["messages"], "return_token_strs": True}),
        Good("/detokenize", {"tokens": [1, 2, 3]}),
        Good("/invocations", _chat(keep_ratio=0.5)),
    ]
    return [Good(one.path, {"model": model, **one.body}, one.streams) for one in requests]
