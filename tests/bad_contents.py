"""Messages that nothing can be made of, in each API, and good ones that look like them."""

from __future__ import annotations

from typing import Any

from bad_bodies import BATCH, CHAT, COUNT, MESSAGES, PICTURE, RESPONSES, TOKENIZE

URL = {"url": PICTURE}
DATA = {"type": "base64", "media_type": "image/png", "data": PICTURE.partition(",")[2]}
BROKEN = "data:image/png;base64,aGVsbG8="
"""No picture."""

IN_CONTENT: dict[str, tuple[Any, str]] = {
    "an object": ({}, ""),
    "a part that is not in a list": ({"type": "text", "text": "a"}, ""),
    "a number": (5, ""),
    "true": (True, ""),
    "nothing in a list": ([None], "[0]"),
    "a list in a list": ([[]], "[0]"),
    "an empty part": ([{}], "[0].type"),
    "a type that there is not": ([{"type": "bogus", "text": "a"}], "[0].type"),
    "a type that is a number": ([{"type": 5, "text": "a"}], "[0].type"),
    "no text": ([{"type": "text"}], "[0].text"),
    "text null": ([{"type": "text", "text": None}], "[0].text"),
    "text a number": ([{"type": "text", "text": "a"}, {"type": "text", "text": 5}], "[1].text"),
}
"""What stands for the content of a message, and where in it the fault is, in any API that has parts."""

IN_CHAT: dict[str, tuple[Any, str]] = {
    **IN_CONTENT,
    "null": (None, ""),
    "an empty list": ([], ""),
    "no refusal": ([{"type": "refusal"}], "[0].refusal"),
    "no thought": ([{"type": "thinking"}], "[0].thinking"),
    "no name of a tool": ([{"type": "tool_reference"}], "[0].name"),
    "no image_url": ([{"type": "image_url"}], "[0].image_url"),
    "an image_url that is a string": ([{"type": "image_url", "image_url": PICTURE}], "[0].image_url"),
    "no url": ([{"type": "image_url", "image_url": {}}], "[0].image_url.url"),
    "a url that is a number": ([{"type": "image_url", "image_url": {"url": 5}}], "[0].image_url.url"),
    "a detail that there is not": (
        [{"type": "image_url", "image_url": {**URL, "detail": "x"}}],
        "[0].image_url.detail",
    ),
    "a type null": ([{"type": None, "image_url": PICTURE}], "[0].type"),
    "a type that there is not, with a uuid": ([{"type": "bogus", "image_url": PICTURE, "uuid": "a"}], "[0].type"),
    "a uuid that is a number": ([{"type": "image_url", "image_url": URL, "uuid": 5}], "[0].uuid"),
    "a picture in a text": ([{"type": "text", "text": "a", "image_url": URL}], "[0].image_url"),
    "a text in a picture": ([{"type": "image_url", "image_url": URL, "text": "a"}], "[0].text"),
    "a video in a picture": ([{"type": "image_url", "image_url": URL, "video_url": URL}], "[0].video_url"),
    "how a video is looked at": ([{"type": "video_url", "video_url": {**URL, "fps": 1}}], "[0].video_url.fps"),
    "a detail of a video": ([{"type": "video_url", "video_url": {**URL, "detail": "low"}}], "[0].video_url.detail"),
    "another size": ([{"type": "image_url", "image_url": URL, "resized_width": 56}], "[0].resized_width"),
    "sound without data": ([{"type": "input_audio", "input_audio": {"format": "wav"}}], "[0].input_audio.data"),
    "a second picture that is none": (
        [{"type": "image_url", "image_url": URL}, {"type": "image_url", "image_url": {"url": BROKEN}}],
        "[1].image_url",
    ),
}

IN_RESPONSES: dict[str, tuple[Any, str]] = {
    **IN_CONTENT,
    "null": (None, ""),
    "no text": ([{"type": "input_text"}], "[0].text"),
    "text null": ([{"type": "input_text", "text": None}], "[0].text"),
    "text a number": ([{"type": "input_text", "text": "a"}, {"type": "input_text", "text": 5}], "[1].text"),
    "no image_url": ([{"type": "input_image"}], "[0].image_url"),
    "an image_url that is an object": ([{"type": "input_image", "image_url": URL}], "[0].image_url"),
    "a picture in a text": ([{"type": "input_text", "text": "a", "image_url": PICTURE}], "[0].image_url"),
    "a text in a picture": ([{"type": "input_image", "image_url": PICTURE, "text": "a"}], "[0].text"),
    "a file": ([{"type": "input_file", "file_id": "a"}], "[0].type"),
    "a second picture that is none": (
        [{"type": "input_image", "image_url": PICTURE}, {"type": "input_image", "image_url": BROKEN}],
        "[1].image_url",
    ),
}

IN_MESSAGES: dict[str, tuple[Any, str]] = {
    **IN_CONTENT,
    "null": (None, ""),
    "an empty list": ([], ""),
    "an empty text": ([{"type": "text", "text": ""}], "[0].text"),
    "a picture in a text": ([{"type": "text", "text": "a", "source": DATA}], "[0].source"),
    "a text in a picture": ([{"type": "image", "source": DATA, "text": "a"}], "[0].text"),
    "no id of a call": ([{"type": "tool_result", "content": "a"}], "[0].tool_use_id"),
    "no text in a result": (
        [{"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text"}]}],
        "[0].content[0].text",
    ),
    "a result that is an object": ([{"type": "tool_result", "tool_use_id": "a", "content": {}}], "[0].content"),
    "a call without input": ([{"type": "tool_use", "id": "a", "name": "f"}], "[0].input"),
    "a call without a name": ([{"type": "tool_use", "id": "a", "input": {}}], "[0].name"),
    "no thought": ([{"type": "thinking"}], "[0].thinking"),
    "a second picture that is none": (
        [{"type": "image", "source": DATA}, {"type": "image", "source": {**DATA, "data": BROKEN.partition(",")[2]}}],
        "[1].source",
    ),
    "a picture in a result that is none": (
        [
            {
                "type": "tool_result",
                "tool_use_id": "a",
                "content": [{"type": "image", "source": {**DATA, "data": BROKEN.partition(",")[2]}}],
            }
        ],
        "[0].content[0].source",
    ),
}


def refused() -> dict[tuple[str, str], tuple[dict[str, Any], str]]:
    """Fields of a request and the `param` of its refusal, by endpoint and what is wrong."""
    cases: dict[tuple[str, str], tuple[dict[str, Any], str]] = {}
    for name, (content, where) in IN_CHAT.items():
        said = [{"role": "user", "content": content}]
        for path in (CHAT, TOKENIZE):
            cases[path, name] = {"messages": said}, f"messages[0].content{where}"
        cases[BATCH, name] = {"messages": [said]}, f"messages[0][0].content{where}"
    for name, (content, where) in IN_RESPONSES.items():
        said = [{"role": "user", "content": content}]
        cases[RESPONSES, name] = {"input": said}, f"input[0].content{where}"
    for name, (content, where) in IN_MESSAGES.items():
        said = [{"role": "user", "content": content}]
        for path in (MESSAGES, COUNT):
            cases[path, name] = {"messages": said}, f"messages[0].content{where}"
    return cases | _in_other_turns()


def _in_other_turns() -> dict[tuple[str, str], tuple[dict[str, Any], str]]:
    """Of other roles, and of what else a message may have."""
    hello = {"role": "user", "content": "hello"}
    cases: dict[tuple[str, str], tuple[dict[str, Any], str]] = {}
    for role in ("assistant", "tool"):
        more = {"role": role, "tool_call_id": "a"}
        for name in ("an object", "no text", "a number", "an empty part"):
            content, where = IN_CONTENT[name]
            at = f"messages[1].content{where}"
            cases[CHAT, f"{name}, {role}"] = {"messages": [hello, {**more, "content": content}]}, at
    for role in ("user", "system", "developer"):
        cases[CHAT, f"no content, {role}"] = {"messages": [hello, {"role": role}]}, "messages[1].content"
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    for name, calls, where in (
        ("calls an object", {}, ""),
        ("a call that is a number", [5], "[0]"),
        ("a call of no function", [{**call, "type": "custom"}], "[0].type"),
        ("a call without id", [{**call, "id": None}], "[0].id"),
        ("a call without arguments", [{**call, "function": {"name": "f"}}], "[0].function.arguments"),
    ):
        said = [hello, {"role": "assistant", "content": None, "tool_calls": calls}]
        cases[CHAT, name] = {"messages": said}, f"messages[1].tool_calls{where}"
    for name, value in (("null", None), ("a text", "hello"), ("an object", {"role": "user"})):
        cases[CHAT, f"messages {name}"] = {"messages": value}, "messages"
        cases[BATCH, f"messages {name}"] = {"messages": value}, "messages"
    cases[CHAT, "messages empty"] = {"messages": []}, "messages"
    cases[CHAT, "a role that is empty"] = {"messages": [{"role": "", "content": "a"}]}, "messages[0].role"
    cases[CHAT, "a name that is a number"] = {"messages": [{**hello, "name": 5}]}, "messages[0].name"
    for name, value in (("audio", {"id": "audio_1"}), ("function_call", {"name": "f", "arguments": "{}"})):
        answer = {"role": "assistant", "content": None, name: value}
        cases[CHAT, f"{name} of an answer"] = {"messages": [hello, answer, hello]}, f"messages[1].{name}"
        cases[BATCH, f"{name} of an answer"] = {"messages": [[hello, answer, hello]]}, f"messages[0][1].{name}"
    cases[CHAT, "a thought that is a number"] = {"messages": [{**hello, "reasoning": 5}]}, "messages[0].reasoning"
    said = {"type": "message", "id": "m", "status": "completed", "role": "assistant"}
    cases[RESPONSES, "an answer that is an object"] = {"input": [{**said, "content": {}}, hello]}, "input[0].content"
    cases[RESPONSES, "input an object"] = {"input": {}}, "input"
    cases[RESPONSES, "input empty"] = {"input": []}, "input"
    cases[RESPONSES, "a call without a name"] = (
        {"input": [hello, {"type": "function_call", "call_id": "c", "arguments": "{}"}]},
        "input[1].name",
    )
    seen = {"type": "input_image", "image_url": PICTURE, "detail": "x"}
    gave = {"type": "function_call_output", "call_id": "c", "output": [seen]}
    answer = {"role": "assistant", "content": [{"type": "output_text", "text": "a"}, {**seen, "detail": "auto"}]}
    cases[RESPONSES, "a picture in an answer"] = {"input": [hello, answer, hello]}, "input[1].content[1].type"
    cases[RESPONSES, "a detail that there is not, of a tool"] = ({"input": [hello, gave]}, "input[1].output[0].detail")
    strict = {"type": "image", "source": DATA, "transformations": {"oversized_image": "error"}}
    cases[MESSAGES, "an image that must not be made smaller"] = (
        {"messages": [{"role": "user", "content": [strict]}]},
        "messages[0].content[0].transformations.oversized_image",
    )
    cases[MESSAGES, "no messages"] = {"messages": []}, "messages"
    cases[MESSAGES, "no text of the system"] = {"system": [{"type": "text"}]}, "system[0].text"
    cases[MESSAGES, "a picture of the system"] = (
        {"messages": [hello, {"role": "system", "content": [{"type": "image", "source": DATA}]}]},
        "messages[1].content[0].type",
    )
    return cases


_CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
_HELLO = {"role": "user", "content": "hello"}

TAKEN: dict[str, tuple[str, dict[str, Any]]] = {
    "an answer as OpenAI's client has it": (
        CHAT,
        {
            "messages": [
                _HELLO,
                {
                    "role": "assistant",
                    "content": None,
                    "refusal": None,
                    "audio": None,
                    "function_call": None,
                    "tool_calls": [_CALL],
                },
                {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": ""}]},
            ]
        },
    ),
    "a tool that has nothing to tell": (
        CHAT,
        {
            "messages": [
                _HELLO,
                {"role": "assistant", "tool_calls": [_CALL]},
                {"role": "tool", "tool_call_id": "a", "content": []},
            ]
        },
    ),
    "an answer without content": (CHAT, {"messages": [_HELLO, {"role": "assistant"}, _HELLO]}),
    "an empty text": (CHAT, {"messages": [{"role": "user", "content": ""}]}),
    "a picture without a type": (CHAT, {"messages": [{"role": "user", "content": [{"image_url": PICTURE}]}]}),
    "a part with more in it": (
        CHAT,
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {"type": "x"}}]}]},
    ),
    "a role of the model's own": (CHAT, {"messages": [_HELLO, {"role": "critic", "content": ["a"]}]}),
    "an answer that is sent back": (
        RESPONSES,
        {
            "input": [
                _HELLO,
                {
                    "type": "message",
                    "id": "m",
                    "status": "completed",
                    "role": "assistant",
                    "content": [{"type": "output_text", "text": "a", "annotations": []}],
                },
                {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "a"}]},
            ]
        },
    ),
    "a picture without a detail": (
        RESPONSES,
        {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": PICTURE}]}]},
    ),
    "a picture whose detail is null": (
        RESPONSES,
        {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": PICTURE, "detail": None}]}]},
    ),
    "a picture whose detail is null, of a chat": (
        CHAT,
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {**URL, "detail": None}}]}]},
    ),
    "a picture whose detail is the original, of a chat": (
        CHAT,
        {
            "messages": [
                {"role": "user", "content": [{"type": "image_url", "image_url": {**URL, "detail": "original"}}]}
            ]
        },
    ),
    "an image with the transformations that it has anyhow": (
        MESSAGES,
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "image", "source": DATA, "transformations": {"oversized_image": "downsize"}},
                        {"type": "image", "source": DATA, "transformations": {}},
                    ],
                }
            ]
        },
    ),
    "a picture of a response, in a chat": (
        CHAT,
        {"messages": [{"role": "user", "content": [{"type": "input_image", "image_url": PICTURE}]}]},
    ),
    "a call of a tool that takes any text": (
        RESPONSES,
        {
            "input": [
                _HELLO,
                {"type": "custom_tool_call", "call_id": "c", "name": "f", "input": "a"},
                {"type": "custom_tool_call_output", "call_id": "c", "output": "b"},
            ]
        },
    ),
    "pictures that a tool gave, without a detail": (
        RESPONSES,
        {
            "input": [
                _HELLO,
                {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
                {
                    "type": "function_call_output",
                    "call_id": "c",
                    "output": [
                        {"type": "input_image", "image_url": PICTURE},
                        {"type": "input_image", "image_url": PICTURE, "detail": None, "keep_ratio": 0.5},
                    ],
                },
            ]
        },
    ),
    "a call and its result": (
        MESSAGES,
        {
            "system": [{"type": "text", "text": "", "cache_control": {"type": "ephemeral"}}],
            "messages": [
                _HELLO,
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "", "signature": ""},
                        {"type": "tool_use", "id": "a", "name": "f", "input": {}},
                    ],
                },
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "is_error": False}]},
            ],
        },
    ),
    "an answer of nothing": (MESSAGES, {"messages": [_HELLO, {"role": "assistant", "content": []}, _HELLO]}),
}
"""An endpoint, and messages that real clients send."""
