"""Every picture of the corpus through a running server, with a keep ratio and without: taken, or refused by its code.

That what is taken has the right levels is shown at the reader (tests/plugin/test_picture_corpus.py).
"""

import pytest

from corpus.case import Case
from corpus.pictures import picture_cases
from serving import chat_body, data_url, responses_body

CASES = picture_cases()


@pytest.mark.parametrize("ratio", [None, 0.222], ids=["without", "with"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_picture_is_answered_or_refused_as_it_should_be(client, case: Case, ratio):
    body = chat_body(data_url(case.content), max_tokens=1, **({} if ratio is None else {"keep_ratio": ratio}))
    response = client.post("/v1/chat/completions", json=body)
    if case.truth is not None:
        assert response.status_code == 200
        return
    assert response.status_code == 400
    error = response.json()["error"]
    assert error.pop("message")
    assert error == {"type": "invalid_request_error", "param": "messages[0].content[0].image_url", "code": case.code}


@pytest.mark.parametrize("code", ["invalid_image", "image_too_large"])
def test_a_response_and_a_message_refuse_a_picture_as_a_chat_does(client, code):
    content = next(case.content for case in CASES if case.code == code and case.content)
    asked = client.post("/v1/responses", json=responses_body(data_url(content), keep_ratio=0.222))
    assert asked.status_code == 400
    error = asked.json()["error"]
    assert (error["code"], error["param"]) == (code, "input[0].content[0].image_url")
    source = {"type": "base64", "media_type": "image/png", "data": data_url(content).partition(",")[2]}
    message = {"role": "user", "content": [{"type": "image", "source": source}]}
    asked = client.post("/v1/messages", json={"model": "tiny", "max_tokens": 1, "messages": [message]})
    assert asked.status_code == 400
    error = asked.json()["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", code)
    assert error["param"] == "messages[0].content[0].source"
