"""A request that was refused, or only counted, changes nothing for the next one with the same image."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from anthropic_bodies import count_body, messages_body

from serving import chat_body, data_url, png, responses_body, sse_data
from video_files import avi, frame, video_url

CHAT, BATCH, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/chat/completions/batch", "/v1/responses", "/v1/messages"


def fresh(seed, side=336):
    """An image that no other test sends: no cache knows it."""
    return data_url(png(side, side, seed=1000 + seed))


def batch_body(url, **fields):
    body = chat_body(url, **fields)
    return {**body, "messages": [body["messages"], body["messages"]]}


REFUSED = {
    "logit bias": (CHAT, chat_body, {"logit_bias": {"99999999": 1}}),
    "regex": (CHAT, chat_body, {"structured_outputs": {"regex": "(["}}),
    "allowed tokens": (CHAT, chat_body, {"allowed_token_ids": [99_999_999]}),
    "truncated image": (CHAT, chat_body, {"truncate_prompt_tokens": 8}),
    "batch": (BATCH, batch_body, {"logit_bias": {"99999999": 1}}),
    "response": (RESPONSES, responses_body, {"logit_bias": {"99999999": 1}}),
}


@pytest.mark.parametrize(("seed", "name"), enumerate(REFUSED))
def test_an_image_of_a_refused_request_is_served_afterwards(client, seed, name):
    path, make, fields = REFUSED[name]
    image = fresh(seed)
    assert client.post(path, json=make(image, keep_ratio=0.5, **fields)).status_code == 400
    response = client.post(path, json=make(image, keep_ratio=0.5))
    assert response.status_code == 200, response.text


@pytest.mark.parametrize("spoilt", [{"logit_bias": {"99999999": 1}}, {"allowed_token_ids": [99_999_999]}], ids=str)
@pytest.mark.parametrize("ratio", [{}, {"keep_ratio": 0.5}], ids=["whole", "reduced"])
def test_a_video_of_a_refused_request_is_served_afterwards(client, spoilt, ratio):
    url = video_url(avi([frame((112, 84), shade) for shade in (len(ratio), 99, len(str(spoilt)), 7)]))
    body = chat_body(max_tokens=2, **ratio)
    body["messages"][0]["content"].insert(0, {"type": "video_url", "video_url": {"url": url}})
    assert client.post(CHAT, json={**body, **spoilt}).status_code == 400
    response = client.post(CHAT, json=body)
    assert response.status_code == 200, response.text


def test_a_video_that_is_refused_once_it_was_sized_may_be_sent_again(client):
    """Refused behind the processor, which had entered it into the cache; and then for the same reason."""
    pictures = [frame((560, 560), shade) for shade in range(20)] * 4
    body = chat_body(max_tokens=2, keep_ratio=0.05)
    part = {"type": "video_url", "video_url": {"url": video_url(avi(pictures, (560, 560)))}}
    body["messages"][0]["content"].insert(0, part)
    refused = [client.post(CHAT, json=body) for _ in range(2)]
    assert [answer.json()["error"]["code"] for answer in refused] == ["too_many_unreduced_tokens"] * 2


def test_an_image_of_a_request_that_was_refused_inside_its_stream_is_served_afterwards(client):
    image = fresh(100)
    refused = client.post(CHAT, json=chat_body(image, keep_ratio=0.5, stream=True, logit_bias={"99999999": 1}))
    assert refused.status_code == 400 or "error" in sse_data(refused.text)[0]
    assert client.post(CHAT, json=chat_body(image, keep_ratio=0.5)).status_code == 200


@pytest.mark.parametrize(
    ("seed", "path", "make"), [(200, CHAT, chat_body), (201, RESPONSES, responses_body), (202, MESSAGES, messages_body)]
)
def test_one_of_several_images_that_were_too_many_is_served_alone(client, seed, path, make):
    images = [fresh(seed + 10 * number, 1008) for number in range(4)]
    assert client.post(path, json=make(*images)).status_code == 400
    assert [client.post(path, json=make(image)).status_code for image in images[:2]] == [200, 200]


def test_a_message_that_was_counted_is_served_afterwards(client):
    image = fresh(300)
    assert client.post(f"{MESSAGES}/count_tokens", json=count_body(image)).status_code == 200
    assert client.post(MESSAGES, json=messages_body(image)).status_code == 200


def test_an_image_that_was_served_stays_in_the_cache_when_a_later_request_with_it_is_refused(client):
    image = fresh(400)
    statuses = [
        client.post(CHAT, json=chat_body(image, keep_ratio=0.5, **fields)).status_code
        for fields in ({}, {"logit_bias": {"99999999": 1}}, {})
    ]
    assert statuses == [200, 400, 200]


@pytest.mark.parametrize("stream", [False, True])
def test_no_valid_request_pays_for_a_refused_one_with_the_same_new_image(client, stream):
    """Which of them is rendered first is chance: what holds in every order is asserted."""

    def ask(body):
        return client.post(CHAT, json=body)

    with ThreadPoolExecutor(6) as pool:
        for number in range(8):
            image = fresh(600 + number + 50 * stream)
            refused = chat_body(image, keep_ratio=0.5, logit_bias={"99999999": 1})
            valid = [chat_body(image, keep_ratio=0.5, stream=stream) for _ in range(3)]
            valid[2] |= {"n": 2, "temperature": 0.5}
            answers = list(pool.map(ask, [refused, valid[0], refused, valid[1], valid[2], refused]))
            assert [answer.status_code for answer in answers] == [400, 200, 400, 200, 200, 400]
            streams = [event for answer in answers if answer.status_code == 200 for event in events(answer)]
            assert not any("error" in event for event in streams)


def test_no_valid_request_pays_for_clients_that_left_with_the_same_new_image(client):
    def ask(body):
        return client.post(CHAT, json=body).status_code

    def leave(body):
        try:
            client.post(CHAT, json=body, timeout=httpx.Timeout(60, read=0.001))
        except httpx.ReadTimeout:
            return None

    with ThreadPoolExecutor(6) as pool:
        for number in range(8):
            body = chat_body(fresh(700 + number, 672), keep_ratio=0.5)
            left = [pool.submit(leave, body) for _ in range(3)]
            assert list(pool.map(ask, [body] * 3)) == [200] * 3
            assert [gone.result() for gone in left] == [None] * 3


def events(answer):
    return sse_data(answer.text) if "event-stream" in answer.headers["content-type"] else [answer.json()]
