"""The stream parser: what is a token, when it came, and what went wrong."""

from __future__ import annotations

import json

import pytest

from loadtest.stream import ChatStream, Usage

USAGE = {"prompt_tokens": 20, "completion_tokens": 5}


def event(delta: dict, finish: str | None = None, **more: object) -> bytes:
    return line({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more})


def line(document: object) -> bytes:
    return f"data: {document if isinstance(document, str) else json.dumps(document)}\n\n".encode()


ROLE = event({"role": "assistant", "content": ""})
END = line({"choices": [], "usage": USAGE}) + line("[DONE]")


def answer(*pieces: tuple[float, bytes], sent_at: float = 0.0):
    stream = ChatStream(sent_at)
    for at, data in pieces:
        stream.feed(data, at)
    return stream.answer(ended_at=100.0)


def test_the_role_alone_is_no_token():
    seen = answer(
        (12, ROLE), (15, event({"content": "a"})), (19, event({"content": "b"}, "stop")), (20, END), sent_at=10
    )
    assert (seen.ttft_s, seen.end_s, seen.gaps_s, seen.text, seen.error) == (5, 9, (4,), "ab", None)


def test_time_per_token_counts_the_tokens_of_the_usage_not_the_chunks():
    seen = answer(
        (1, ROLE + event({"content": "several words at once"})), (9, event({"content": " more"}, "stop")), (9, END)
    )
    assert len(seen.gaps_s) == 1
    assert seen.tpot_s == (9 - 1) / (5 - 1)


def test_the_usage_after_the_last_token_does_not_lengthen_the_answer():
    seen = answer((1, event({"content": "a"}, "stop")), (50, END))
    assert seen.end_s == 1


def test_bytes_may_be_cut_anywhere():
    whole = ROLE + event({"content": "é€"}) + event({"content": "!"}, "stop") + END
    seen = answer(*((number, whole[number : number + 1]) for number in range(len(whole))))
    assert (seen.text, seen.usage, seen.error) == ("é€!", Usage(20, 5), None)
    assert seen.ttft_s == len(ROLE + event({"content": "é€"})) - 1  # the moment its last byte came


def test_comments_carriage_returns_and_other_fields_are_skipped():
    noise = b": keep-alive\r\n\r\nevent: message\nid: 7\n"
    seen = answer((1, noise + ROLE.replace(b"\n", b"\r\n")), (2, noise), (3, event({"content": "a"}, "stop") + END))
    assert (seen.ttft_s, seen.text, seen.error) == (3, "a", None)


def test_an_event_may_span_several_data_lines():
    seen = answer((1, b'data: {"choices": [{"delta":\ndata: {"content": "a"}, "finish_reason": "stop"}]}\n\n' + END))
    assert (seen.text, seen.error) == ("a", None)


def test_a_token_without_text_is_a_token():
    seen = answer((1, ROLE), (2, event({"content": ""})), (3, event({"content": ""}, "stop")), (3, END))
    assert (seen.ttft_s, seen.gaps_s) == (2, (1,))


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "tool_calls"])
def test_output_may_be_other_than_content(field):
    assert answer((4, event({"role": "assistant", field: ["x"]})), (5, END)).ttft_s == 4


def test_visual_tokens_come_from_the_usage():
    usage = {
        **USAGE,
        "prompt_tokens_details": {"visual_tokens": {"original": 256, "retained": 57, "keep_ratio": 0.222}},
    }
    seen = answer((1, event({"content": "a"}, "stop")), (1, line({"choices": [], "usage": usage}) + line("[DONE]")))
    assert (seen.usage.visual_original, seen.usage.visual_retained) == (256, 57)


def test_running_usage_gives_way_to_the_last():
    first = event({"content": "a"}, usage={"prompt_tokens": 20, "completion_tokens": 1})
    assert answer((1, first), (2, event({"content": "b"}, "stop")), (2, END)).usage.output_tokens == 5


def test_an_error_in_mid_stream_fails_the_answer():
    seen = answer((1, event({"content": "a"})), (2, line({"error": {"message": "engine died", "code": 500}})), (2, END))
    assert seen.error == "engine died"


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (event({"content": "a"}), "the stream ended before its end mark"),
        (event({"content": "a"}, "stop") + line("[DONE]"), "the stream had no usage"),
        (ROLE + END, "the stream had no token"),
        (line("{oops") + END, "not JSON: {oops"),
        (line("[1]") + END, "not an object: [1]"),
        (b"", "the stream ended before its end mark"),
    ],
)
def test_what_is_no_complete_answer_says_why(data, error):
    assert answer((1, data)).error.startswith(error)


def test_one_token_has_no_time_per_token():
    usage = {"prompt_tokens": 3, "completion_tokens": 1}
    seen = answer((1, event({"content": "a"}, "stop") + line({"choices": [], "usage": usage}) + line("[DONE]")))
    assert (seen.tpot_s, seen.error) == (None, None)
