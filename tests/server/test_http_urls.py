"""Pictures by URL, through the running server: who is asked, and that nobody else is.

Each case has a path of its own, by which the web server of the test counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import httpx
import pytest
from anthropic_bodies import messages_body

from counting import HOST, PUBLIC, Counting, counting
from serving import chat_body, png, responses_body

CHAT = "/v1/chat/completions"
SERVED, FORBIDDEN, FAILED = "served", "image_url_forbidden", "image_fetch_failed"

URLS: Final[Mapping[str, tuple[str, str]]] = {
    # What may be fetched, in several spellings.
    "listed": ("http://{host}:{port}/picture/{case}", SERVED),
    "upper case": ("HTTP://Pictures.EXAMPLE:{port}/picture/{case}", SERVED),
    "trailing dot": ("http://{host}.:{port}/picture/{case}", SERVED),
    "unicode": ("http://bücher.example:{port}/picture/{case}", SERVED),
    "address": ("http://{public}:{port}/picture/{case}", SERVED),
    "redirected": ("http://{host}:{port}/to//picture/{case}", SERVED),
    "redirected elsewhere": ("http://{host}:{port}/to/http://{public}:{port}/picture/{case}", SERVED),
    "query and fragment": ("http://{host}:{port}/picture/{case}?a=%2F+b#c", SERVED),
    "blank before": (" http://{host}:{port}/picture/{case}", SERVED),
    # What the URL alone forbids.
    "loopback": ("http://127.0.0.1:{port}/picture/{case}", FORBIDDEN),
    "loopback, dead port": ("http://127.0.0.1:9/picture/{case}", FORBIDDEN),
    "localhost": ("http://localhost:{port}/picture/{case}", FORBIDDEN),
    "hexadecimal": ("http://0x7f000001:{port}/picture/{case}", FORBIDDEN),
    "octal": ("http://0177.0.0.1:{port}/picture/{case}", FORBIDDEN),
    "one number": ("http://2130706433:{port}/picture/{case}", FORBIDDEN),
    "two numbers": ("http://127.1:{port}/picture/{case}", FORBIDDEN),
    "full width": ("http://\uff11\uff12\uff17.0.0.1:{port}/picture/{case}", FORBIDDEN),
    "zero": ("http://0.0.0.0:{port}/picture/{case}", FORBIDDEN),
    "zero alone": ("http://0:{port}/picture/{case}", FORBIDDEN),
    "six": ("http://[::1]:{port}/picture/{case}", FORBIDDEN),
    "mapped": ("http://[::ffff:127.0.0.1]:{port}/picture/{case}", FORBIDDEN),
    "mapped, hexadecimal": ("http://[::ffff:7f00:1]:{port}/picture/{case}", FORBIDDEN),
    "nat64": ("http://[64:ff9b::7f00:1]:{port}/picture/{case}", FORBIDDEN),
    "zone": ("http://[fe80::1%25eth0]:{port}/picture/{case}", FORBIDDEN),
    "metadata": ("http://169.254.169.254/latest/meta-data", FORBIDDEN),
    "private": ("http://10.0.0.1/picture/{case}", FORBIDDEN),
    "user": ("http://user:pw@{host}:{port}/picture/{case}", FORBIDDEN),
    "user that looks like a host": ("http://{host}@127.0.0.1:{port}/picture/{case}", FORBIDDEN),
    "backslash": ("http://127.0.0.1:{port}\\@{host}/picture/{case}", FORBIDDEN),
    "unlisted": ("http://unlisted.example:{port}/picture/{case}", FORBIDDEN),
    "below a listed one": ("http://a.{host}:{port}/picture/{case}", FORBIDDEN),
    "ends like a listed one": ("http://not{host}:{port}/picture/{case}", FORBIDDEN),
    "escaped host": ("http://%70ictures.example:{port}/picture/{case}", FORBIDDEN),
    "blank before loopback": (" http://127.0.0.1:{port}/picture/{case}", FORBIDDEN),
    "blank behind": ("http://{host}:{port}/picture/{case} ", FORBIDDEN),
    "line break": ("http://{host}:{port}/\r\nHost: a/picture/{case}", FORBIDDEN),
    "no slashes": ("http:{host}:{port}/picture/{case}", FORBIDDEN),
    "port out of range": ("http://{host}:99999/picture/{case}", FORBIDDEN),
    "ftp": ("ftp://{host}:{port}/picture/{case}", FORBIDDEN),
    "gopher": ("gopher://127.0.0.1:{port}/_GET%20/picture/{case}", FORBIDDEN),
    "file": ("file:///etc/hostname", FORBIDDEN),
    "file that is not there": ("file:///no/such/file", FORBIDDEN),
    "file of a host": ("file://127.0.0.1/etc/hostname", FORBIDDEN),
    "relative": ("picture.png", FORBIDDEN),
    # What the network forbids, or does not give: all alike.
    "name of loopback": ("http://loopback.example:{port}/picture/{case}", FAILED),
    "name of loopback, dead port": ("http://loopback.example:9/picture/{case}", FAILED),
    "name of six": ("http://six.example:{port}/picture/{case}", FAILED),
    "name of mapped": ("http://mapped.example:{port}/picture/{case}", FAILED),
    "name of private": ("http://private.example:{port}/picture/{case}", FAILED),
    "name of metadata": ("http://metadata.example/latest/meta-data", FAILED),
    "one good address, one bad": ("http://mixed.example:{port}/picture/{case}", FAILED),
    "redirected to loopback": ("http://{host}:{port}/to/http://127.0.0.1:{port}/picture/{case}", FAILED),
    "redirected to the server itself": ("http://{host}:{port}/to/{server}/metrics", FAILED),
    "redirected to a file": ("http://{host}:{port}/to/file:///etc/hostname", FAILED),
    "redirected to an unlisted one": ("http://{host}:{port}/to/http://unlisted.example:{port}/picture/{case}", FAILED),
    "redirected too often": ("http://{host}:{port}/chain/4", FAILED),
    "redirected to itself": ("http://{host}:{port}/round", FAILED),
    "dead port": ("http://{host}:9/picture/{case}", FAILED),
    "not found": ("http://{host}:{port}/status/404/{case}", FAILED),
    "not now": ("http://{host}:{port}/status/503/{case}", FAILED),
    "no end": ("http://{host}:{port}/endless/{case}", FAILED),
}


@pytest.fixture(scope="module")
def web() -> Iterator[Counting]:
    with counting(png(112, 112, seed=9300)) as server:
        yield server


def ask(client: httpx.Client, url: str, **fields: object) -> httpx.Response:
    return client.post(CHAT, json=chat_body(url, **fields))


@pytest.mark.parametrize("ratio", [None, 0.5])
@pytest.mark.parametrize("name", URLS)
def test_a_url_is_fetched_once_where_it_may_be_and_else_not_at_all(
    client: httpx.Client, web: Counting, name: str, ratio: float | None
) -> None:
    pattern, expected = URLS[name]
    case = f"{list(URLS).index(name)}-{ratio}"
    server = str(client.base_url).rstrip("/")
    url = pattern.format(host=HOST, public=PUBLIC, port=web.port, case=case, server=server)
    web.asked.clear()
    web.addresses.clear()
    response = ask(client, url, **({} if ratio is None else {"keep_ratio": ratio}))
    asked = sum(times for path, times in web.asked.items() if f"/picture/{case}" in path and "/to/" not in path)
    assert set(web.addresses) <= {PUBLIC}
    if expected == SERVED:
        assert response.status_code == 200, response.text
        assert asked == 1
        return
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert (error["code"], error["param"]) == (expected, "messages[0].content[0].image_url")
    assert error["message"] == MESSAGES.setdefault(expected, error["message"]), "one answer for all refusals of a kind"
    assert asked == 0
    if expected == FORBIDDEN:
        assert not web.asked
    else:
        assert web.asked.total() <= 4
        assert max(web.asked.values(), default=0) <= (4 if name == "redirected to itself" else 1)


MESSAGES: dict[str, str] = {}


def test_what_comes_too_slowly_is_given_up_and_not_asked_for_again(client: httpx.Client, web: Counting) -> None:
    """Side by side: each takes as long as a fetch may take, which no other case here does, however busy all are."""
    asked = {f"/{kind}/{ratio}": ratio for kind in ("drip", "silent") for ratio in (1, 0.5)}
    with ThreadPoolExecutor(len(asked)) as threads:
        answers = list(threads.map(lambda path: ask(client, web.url(path), keep_ratio=asked[path]), asked))
    assert [answer.status_code for answer in answers] == [400] * len(asked), [answer.text for answer in answers]
    errors = [answer.json()["error"] for answer in answers]
    assert {(error["code"], error["param"]) for error in errors} == {(FAILED, "messages[0].content[0].image_url")}
    assert {error["message"] for error in errors} == {MESSAGES.setdefault(FAILED, errors[0]["message"])}
    assert [web.asked[path] for path in asked] == [1] * len(asked)


def test_every_api_refuses_alike(client: httpx.Client, web: Counting) -> None:
    url = web.url("/picture/apis", "127.0.0.1")
    answers = [client.post("/v1/responses", json=responses_body(url)), ask(client, url, stream=True)]
    body: Any = messages_body("data:,")
    body["messages"][0]["content"][0]["source"] = {"type": "url", "url": url}
    answers.append(client.post("/v1/messages", json=body))
    batch = chat_body(url)
    batch["messages"] = [batch["messages"]]
    answers.append(client.post("/v1/chat/completions/batch", json=batch))
    answers.append(client.post("/tokenize", json=chat_body(url)))
    answers.append(client.post("/invocations", json=chat_body(url)))
    assert [answer.status_code for answer in answers] == [400] * len(answers), [answer.text for answer in answers]
    assert len({answer.json()["error"]["message"] for answer in answers}) == 1
    assert not web.asked["/picture/apis"]


def test_what_is_fetched_and_is_no_picture_is_an_invalid_image(client: httpx.Client, web: Counting) -> None:
    error = ask(client, web.url("/text")).json()["error"]
    assert (error["code"], error["param"]) == ("invalid_image", "messages[0].content[0].image_url")
