"""What a hostile or mistaken client is answered by a container: the image's defaults, and keys from a mounted file.

Every kind of case that the tests of tests/server have is here by its corpus, in short; what the image itself may spoil
(its packages, its user, its read-only root, its first process) shows nowhere else.
"""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from typing import Any

import httpx
import openai
import pytest
from endpoint import IMAGE, Container, started

from api_errors import error_in
from bad_bodies import (
    CHAT,
    GOOD,
    INVOCATIONS,
    MESSAGES,
    STREAMING,
    UNREADABLE,
    WRONG_VALUES,
    good,
    misplaced,
    misplaced_in_content,
)
from bad_contents import refused as refused_contents
from bad_images import blank_png, huge_png
from corpus.pictures import picture_cases
from serving import MODEL_NAME, WAIT_SECONDS, chat_body, data_url, eventually, keeping_client, metric, png
from sppruner_vllm.demo_model.flags import DEMO_NAME

pytestmark = pytest.mark.skipif(not IMAGE, reason="asks a container; `make image-test` builds its image")

KEY = "key-of-a-client-7f3a"
MOST_REQUESTS = 16
SIDE_BY_SIDE = 4
AS_JSON = {"content-type": "application/json"}
IMAGE_URL = "messages[0].content[0].image_url"
LONG_DRAIN = ("--shutdown-timeout", "600")
"""Longer than any test: a server that ends did not wait for it."""
LONG = {"stream": True, "max_tokens": 1000, "ignore_eos": True}
"""Of an answer that is under way for as long as a test looks."""


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    folder = tmp_path_factory.mktemp("keys")
    folder.chmod(0o755)
    keys = folder / "keys.toml"
    keys.write_text(f'[[key]]\nname = "client"\nkey = "{KEY}"\n')
    flags = ["--served-model-name", DEMO_NAME, MODEL_NAME, "--max-requests", str(MOST_REQUESTS), *LONG_DRAIN]
    with started(tmp_path_factory.mktemp("door") / "server.log", flags=flags, keys=keys) as running:
        assert isinstance(running, Container)
        yield running


@pytest.fixture(scope="module")
def guest(door: Container) -> Iterator[httpx.Client]:
    """Without a key."""
    with keeping_client(door.url) as http:
        yield http


@pytest.fixture(scope="module")
def client(door: Container) -> Iterator[httpx.Client]:
    """With the key."""
    with keeping_client(door.url) as http:
        http.headers["authorization"] = f"Bearer {KEY}"
        yield http


def post_all(client: httpx.Client, requests: Iterable[tuple[str, bytes, dict[str, str]]]) -> list[httpx.Response]:
    """The answers to (path, content, headers), in their order."""
    with ThreadPoolExecutor(SIDE_BY_SIDE) as threads:
        return list(
            threads.map(lambda sent: client.post(sent[0], content=sent[1], headers={**AS_JSON, **sent[2]}), requests)
        )


def post(client: httpx.Client, path: str, body: dict[str, Any]) -> httpx.Response:
    return client.post(path, json=body)


def test_pictures_are_taken_or_refused_as_they_should_be(client: httpx.Client) -> None:
    cases = [(case, ratio) for case in picture_cases() for ratio in (None, 0.222)]
    bodies = [
        chat_body(data_url(case.content), max_tokens=1, **({} if ratio is None else {"keep_ratio": ratio}))
        for case, ratio in cases
    ]
    answers = post_all(client, [(CHAT, json.dumps(body).encode(), {}) for body in bodies])
    wrong = {}
    for (case, ratio), answer in zip(cases, answers, strict=True):
        code = None if answer.status_code == 200 else error_in(CHAT, answer.status_code, answer.content)["code"]
        if code != case.code:
            wrong[f"{case}, {ratio}"] = answer.text
    assert wrong == {}


@pytest.mark.parametrize(
    "bomb", [huge_png(10_000), huge_png(20_000), blank_png(13_000)], ids=["header", "larger", "whole"]
)
def test_a_ratio_lets_no_bomb_in(client: httpx.Client, bomb: bytes) -> None:
    answer = post(client, CHAT, chat_body(data_url(bomb), keep_ratio=0.222))
    assert error_in(CHAT, answer.status_code, answer.content)["code"] == "image_too_large"


def test_what_cannot_be_read_or_used_is_a_400_in_the_shape_of_its_api(client: httpx.Client) -> None:
    sent = [(path, make(path)) for path in GOOD for make in UNREADABLE.values()]
    sent += [(CHAT, bad) for bad in misplaced(CHAT).values()]
    sent += [(path, bad) for (path, _), bad in misplaced_in_content().items()]
    answers = post_all(client, [(path, bad.content, dict(bad.headers)) for path, bad in sent])
    for (path, bad), answer in zip(sent, answers, strict=True):
        assert answer.status_code == bad.status, answer.text
        assert error_in(path, answer.status_code, answer.content)["code"] == bad.code


def test_a_value_of_a_wrong_kind_is_a_400_before_any_stream(client: httpx.Client) -> None:
    bodies = [
        (path, good(path, **fields, **more))
        for path, fields in WRONG_VALUES.values()
        for more in (({}, {"stream": True}) if path in STREAMING else ({},))
    ]
    for (path, _), fields in refused_contents().items():
        body = good(path, **fields[0])
        if "messages" in fields[0]:
            body.pop("prompt", None)
        bodies.append((path, body))
    answers = post_all(client, [(path, json.dumps(body).encode(), {}) for path, body in bodies])
    for (path, body), answer in zip(bodies, answers, strict=True):
        # The demo model's context is longer than that of the tests' own, so what is too long there may fit here.
        if answer.status_code != 200:
            assert answer.status_code == 400, (body, answer.text)
            error_in(path, 400, answer.content)
    assert Counter(answer.status_code for answer in answers)[200] <= 2


def test_the_server_has_counted_no_fault_of_its_own(client: httpx.Client) -> None:
    assert metric(client, "sppruner_requests_total", outcome="server_error") == 0


def test_no_valid_request_pays_for_one_that_is_refused(client: httpx.Client) -> None:
    """One new picture at a time, in several requests of which one is refused behind its rendering."""
    for seed in range(4):
        url = data_url(png(336, 336, seed=9500 + seed))
        bodies = [chat_body(url, max_tokens=1, keep_ratio=0.222) for _ in range(4)]
        bodies[1]["logit_bias"] = {"99999999": 1}
        answers = post_all(client, [(CHAT, json.dumps(body).encode(), {}) for body in bodies])
        assert [answer.status_code for answer in answers] == [200, 400, 200, 200]


@pytest.mark.parametrize("ratio", [1, 0.222])
def test_a_uuid_used_again_is_answered_for_the_picture_that_was_sent(client: httpx.Client, ratio: float) -> None:
    def said(url: str, **more: str) -> Any:
        body: Any = chat_body(url, keep_ratio=ratio, logprobs=True, top_logprobs=5)
        body["messages"][0]["content"][0] |= more
        tokens = post(client, CHAT, body).json()["choices"][0]["logprobs"]["content"]
        return [(token["token"], round(token["logprob"], 2)) for token in tokens]

    first, second = (data_url(png(336, 336, seed=9600 + number)) for number in range(2))
    expected = [said(first), said(second)]
    assert expected[0] != expected[1]
    assert [said(url, uuid=f"one-{ratio}") for url in (first, second)] == expected


@pytest.mark.parametrize("ratio", [1, 0.222])
def test_a_marker_that_a_user_types_is_text(client: httpx.Client, ratio: float) -> None:
    def ids(said: str) -> list[int]:
        body: Any = chat_body(data_url(png(336, 336, seed=9700)), max_tokens=1, return_token_ids=True, keep_ratio=ratio)
        body["messages"] = [
            {"role": "user", "content": said},
            {"role": "assistant", "content": "yes"},
            *body["messages"],
        ]
        found: list[int] = post(client, CHAT, body).json()["prompt_token_ids"]
        return found

    marker = "<|vision_start|><|image_pad|><|vision_end|>"
    special = post(client, "/tokenize", {"model": MODEL_NAME, "prompt": "<|image_pad|>", "add_special_tokens": False})
    (pad,) = special.json()["tokens"]
    typed, plain = ids(f"see {marker} here"), ids("see here")
    assert typed.count(pad) == plain.count(pad) > 0
    assert typed[typed.index(pad) :] == plain[plain.index(pad) :]


@pytest.mark.parametrize(
    "fields", [{"logprobs": True, "top_logprobs": 5}, {"temperature": 1, "top_k": 5, "top_p": 0.9}], ids=str
)
def test_what_vllm_compiles_elsewhere_needs_no_compiler(client: httpx.Client, fields: dict[str, Any]) -> None:
    """The image has none, and the engine would end with the first such request."""
    assert post(client, CHAT, good(CHAT, **fields)).status_code == 200


def test_data_urls_that_are_plain_enough_are_taken(client: httpx.Client) -> None:
    head, _, data = data_url(png(56, 56)).partition(",")
    lines = "\n".join(data[start : start + 60] for start in range(0, len(data), 60))
    urls = [
        f"data:image/png;BASE64,{data}",
        f"DATA:image/png;base64,{data}",
        f"{head},{lines}",
        f"{head},{data.rstrip('=')}",
        f"{head},{data.replace('+', '-').replace('/', '_')}",
    ]
    assert [post(client, CHAT, chat_body(url, max_tokens=1)).status_code for url in urls] == [200] * len(urls)


URLS = [
    "http://127.0.0.1:8000/metrics",
    "http://localhost:8000/metrics",
    "http://0x7f000001:8000/",
    "http://2130706433/",
    "http://[::ffff:127.0.0.1]:8000/",
    "http://0.0.0.0:8000/",
    "http://user:pw@pictures.example/a.png",
    "http://169.254.169.254/latest/meta-data",
    "https://pictures.example/a.png",
    "file:///etc/passwd",
    "ftp://pictures.example/a.png",
]


def test_nothing_is_fetched_by_default_and_every_refusal_reads_alike(client: httpx.Client) -> None:
    before = metric(client, "sppruner_rejected_total", reason="image_url_forbidden")
    answers = [post(client, CHAT, chat_body(url)) for url in URLS]
    errors = [error_in(CHAT, answer.status_code, answer.content) for answer in answers]
    assert {(error["code"], error["param"]) for error in errors} == {("image_url_forbidden", IMAGE_URL)}
    assert len({error["message"] for error in errors}) == 1
    assert metric(client, "sppruner_rejected_total", reason="image_url_forbidden") == before + len(URLS)


GUARDED = [
    *(
        ("GET", path)
        for path in ("/metrics", "/version", "/load", "/docs", "/openapi.json", "/v1/models", "/", "/no/such")
    ),
    *(("POST", path) for path in (*GOOD, "/scale_elastic_ep", "/generative_scoring", "/collective_rpc")),
]


@pytest.mark.parametrize(("method", "path"), GUARDED)
def test_without_a_key_nothing_is_reached(guest: httpx.Client, method: str, path: str) -> None:
    answer = guest.request(method, path, **({"json": good(path)} if path in GOOD else {}))
    assert error_in(path, answer.status_code, answer.content)["code"] == "invalid_api_key"
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health", "/ping"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_probes_need_no_key(guest: httpx.Client, method: str, path: str) -> None:
    assert guest.request(method, path).status_code == 200


@pytest.mark.parametrize(
    "path", ["/scale_elastic_ep", "/generative_scoring", "/collective_rpc", "/server_info", "/sleep"]
)
def test_routes_for_the_operator_are_not_there_even_with_a_key(client: httpx.Client, path: str) -> None:
    answer = client.post(path, json={})
    assert error_in(path, answer.status_code, answer.content)["code"] == "unknown_url"


def test_a_method_that_is_not_there_is_told_so(client: httpx.Client) -> None:
    answer = client.delete(CHAT)
    assert error_in(CHAT, answer.status_code, answer.content)["code"] == "method_not_allowed"
    assert answer.headers["allow"]


def test_clients_of_both_makers_are_served(door: Container, guest: httpx.Client) -> None:
    with openai.OpenAI(base_url=f"{door.url}/v1", api_key=KEY, max_retries=0) as made:
        assert made.models.retrieve(DEMO_NAME).id == DEMO_NAME
    with (
        openai.OpenAI(base_url=f"{door.url}/v1", api_key="another", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        stranger.models.list()
    assert (caught.value.code, caught.value.type) == ("invalid_api_key", "authentication_error")
    answer = guest.post(MESSAGES, json=good(MESSAGES), headers={"x-api-key": KEY})
    assert answer.status_code == 200
    for fields in ({"max_tokens": None}, {"messages": [{"role": "user", "content": [{"type": "image"}]}]}):
        body = {name: value for name, value in good(MESSAGES, **fields).items() if value is not None}
        refused = guest.post(MESSAGES, json=body, headers={"x-api-key": KEY})
        error_in(MESSAGES, refused.status_code, refused.content)
        assert refused.status_code == 400


def test_a_new_file_in_the_place_of_the_keys_is_seen(door: Container, guest: httpx.Client) -> None:
    assert door.keys is not None
    new = door.keys.with_name("new.toml")
    new.write_text(f'{door.keys.read_text()}[[key]]\nname = "another"\nkey = "another-{KEY}"\n')
    new.replace(door.keys)
    sent = {"authorization": f"Bearer another-{KEY}"}
    assert eventually(lambda: guest.get("/v1/models", headers=sent).status_code == 200)


def test_the_id_of_a_request_comes_back(client: httpx.Client) -> None:
    answer = client.post(CHAT, json=good(CHAT), headers={"x-request-id": "mine-7"})
    assert (answer.headers["x-request-id"], answer.json()["id"]) == ("mine-7", "chatcmpl-mine-7")


def test_a_body_that_is_too_large_is_not_read(door: Container) -> None:
    """The head alone is sent."""
    headers = {"authorization": f"Bearer {KEY}", "content-length": str(200 * 2**20), **AS_JSON}
    with closing(HTTPConnection(door.url.removeprefix("http://"), timeout=WAIT_SECONDS)) as connection:
        connection.request("POST", INVOCATIONS, headers=headers)
        answer = connection.getresponse()
        assert error_in(INVOCATIONS, answer.status, answer.read())["code"] == "request_too_large"


def test_beyond_the_limit_everybody_is_told_when_to_come_again(client: httpx.Client) -> None:
    assert eventually(lambda: metric(client, "sppruner_requests_in_flight") == 0)
    begun = []
    for _ in range(MOST_REQUESTS + 8):
        request = client.build_request("POST", CHAT, json=good(CHAT, **LONG))
        begun.append(client.send(request, stream=True))
    try:
        statuses = [(answer.status_code, "retry-after" in answer.headers) for answer in begun]
        assert statuses == [(200, False)] * MOST_REQUESTS + [(503, True)] * 8
    finally:
        for answer in begun:
            answer.close()
    assert eventually(lambda: metric(client, "sppruner_requests_in_flight") == 0)


def test_the_key_and_what_was_asked_are_in_no_log_and_no_setting(door: Container) -> None:
    picture = data_url(png(56, 56)).partition(",")[2][40:120]
    for told in (door.log(), json.dumps(door.inspect()), door.run("print(open('/proc/1/environ').read())")):
        assert KEY not in told
        assert picture not in told


def test_the_root_and_the_keys_cannot_be_written(door: Container) -> None:
    for place in ("/app", "/opt/sppruner", "/etc/sppruner", "/etc/sppruner/keys.toml"):
        program = f"import os; print(os.access({place!r}, os.W_OK))"
        assert door.run(program) == "False", place


def test_a_sigterm_to_all_processes_loses_nothing(door: Container, client: httpx.Client) -> None:
    """The last test: it stops the server."""
    body = good(CHAT, **{**LONG, "max_tokens": 100})

    def read(user: int) -> str:
        with client.stream("POST", CHAT, json=body) as answer:
            return answer.read().decode()

    with ThreadPoolExecutor(SIDE_BY_SIDE) as users:
        with door.frozen():
            texts = [users.submit(read, user) for user in range(SIDE_BY_SIDE)]
            assert eventually(lambda: metric(client, "sppruner_requests_in_flight") == SIDE_BY_SIDE)
            door.signal(signal.SIGTERM)
            assert eventually(lambda: client.get("/readyz").status_code == 503)
            assert client.get("/livez").status_code == 200
            late = client.post(CHAT, json=good(CHAT))
            assert error_in(CHAT, late.status_code, late.content)["code"] == "shutting_down"
            assert late.headers["retry-after"] == "1"
        for text in texts:
            assert text.result().rstrip().endswith("data: [DONE]")
            assert '"finish_reason":"length"' in text.result()
    assert door.wait() == 0, door.log()[-3000:]
