"""Usage and headers of a real server agree with each other and with what the engine did."""

import pytest
from sppruner_server import headers

from serving import chat_body, responses_body, sse_data

REDUCED = {
    "original": 1296,
    "retained": 288,
    "keep_ratio": 0.222,
    "method": "focus_context",
    "skipped_reason": None,
    "focus_scope": "question",
}


def chat(client, *urls, **fields):
    """Status 200 expected; the usage, the account in it, and the headers."""
    response = client.post("/v1/chat/completions", json=chat_body(*urls, **fields))
    assert response.status_code == 200, response.text
    events = sse_data(response.text) if fields.get("stream") else [response.json()]
    usage = events[-1]["usage"]
    return usage, (usage.get("prompt_tokens_details") or {}).get("visual_tokens"), response.headers


def respond(client, *urls, **fields):
    response = client.post("/v1/responses", json=responses_body(*urls, **fields))
    assert response.status_code == 200, response.text
    body = sse_data(response.text)[-1]["response"] if fields.get("stream") else response.json()
    return body["usage"], body["usage"]["input_tokens_details"].get("visual_tokens"), response.headers


STREAMED = {"stream": True, "stream_options": {"include_usage": True}}


@pytest.mark.parametrize("how", [{}, STREAMED], ids=["plain", "stream"])
def test_a_chat_says_how_many_tokens_its_image_had_and_kept(client, picture, how):
    usage, account, sent = chat(client, picture, keep_ratio=0.222, **how)
    assert account == REDUCED
    assert usage["prompt_tokens_details"]["multimodal_tokens"] == {"image": 288}
    assert usage["prompt_tokens"] < 288 + 64
    assert_agree(sent, account)


@pytest.mark.parametrize("how", [{}, {"stream": True}], ids=["plain", "stream"])
def test_a_response_says_how_many_tokens_its_image_had_and_kept(client, picture, how):
    usage, account, sent = respond(client, picture, keep_ratio=0.222, **how)
    assert account == REDUCED
    assert usage["input_tokens"] < 288 + 64
    assert_agree(sent, account)


def assert_agree(sent, account):
    assert int(sent[headers.ORIGINAL]) == account["original"]
    assert int(sent[headers.RETAINED]) == account["retained"]
    assert float(sent[headers.KEEP_RATIO]) == account["keep_ratio"]
    assert sent[headers.METHOD] == account["method"]
    assert sent.get(headers.SKIPPED_REASON) == account["skipped_reason"]
    assert sent.get(headers.FOCUS_SCOPE) == account["focus_scope"]


@pytest.mark.parametrize("fields", [{}, {"keep_ratio": 1}, {"keep_ratio": 1.0}], ids=["default", "1", "1.0"])
def test_a_request_at_ratio_1_says_that_nothing_was_reduced_and_why(client, picture, fields):
    _, account, sent = chat(client, picture, **fields)
    assert (account["original"], account["retained"]) == (1296, 1296)
    assert account["skipped_reason"] == sent[headers.SKIPPED_REASON] == "keep_ratio_is_1"


@pytest.mark.parametrize("ask", [chat, respond])
def test_a_request_without_an_image_has_no_account(client, ask):
    _, account, sent = ask(client, keep_ratio=0.5)
    assert account is None
    assert not [name for name in sent if name.startswith("x-sppruner-")]


def test_several_images_are_summed(client, picture):
    _, account, _ = chat(client, picture, picture, keep_ratio=0.222)
    assert (account["original"], account["retained"]) == (2592, 576)


def test_an_absolute_budget_is_kept_to_the_token(client, picture):
    _, account, _ = chat(client, picture, keep_tokens=100)
    assert account["retained"] == 100


def test_the_field_works_where_plain_vllm_has_it(client, picture):
    _, account, _ = chat(client, picture, mm_processor_kwargs={"keep_ratio": 0.222})
    assert account == REDUCED


def test_a_stream_without_usage_still_has_the_headers(client, picture):
    response = client.post("/v1/chat/completions", json=chat_body(picture, keep_ratio=0.222, stream=True))
    assert response.headers[headers.RETAINED] == "288"
    assert "visual_tokens" not in response.text


def test_a_repeat_from_the_caches_has_the_same_account(client, picture):
    first, account, _ = chat(client, picture, keep_ratio=0.3, text="where is the cat")
    again, repeated, _ = chat(client, picture, keep_ratio=0.3, text="where is the cat")
    assert again["prompt_tokens_details"]["cached_tokens"] > first["prompt_tokens_details"]["cached_tokens"]
    assert repeated == account
