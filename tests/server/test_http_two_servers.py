"""Two API server processes in front of one engine: vLLM spawns them itself, and both are ours."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from sppruner_server import headers

import selection_tap
from browsing import browsing
from otlp import ENVIRONMENT, collecting
from serving import (
    MODEL_NAME,
    START_SECONDS,
    STOP_SECONDS,
    Server,
    chat_body,
    data_url,
    eventually,
    keeping_client,
    metric,
    narrow_client,
    png,
    processes,
    serving,
    standing_still,
    unread,
)

CHAT = "/v1/chat/completions"
STARTED = "Application startup complete."
KEY = {"authorization": "Bearer key-of-tests"}
RARE = {"authorization": "Bearer key-of-rare"}
KEYS = """
[[key]]
name = "tests"
key = "key-of-tests"

[[key]]
name = "rare"
key = "key-of-rare"
requests_per_minute = 0.02
"""


@pytest.fixture(scope="module")
def scratch(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("scratch")


@pytest.fixture(scope="module")
def collector():
    with collecting() as collecting_spans:
        yield collecting_spans


@pytest.fixture(scope="module")
def key_file(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("keys") / "keys.toml"
    file.write_text(KEYS)
    return file


@pytest.fixture(scope="module")
def pair(tiny_model, scratch, collector, key_file, tmp_path_factory):
    log = tmp_path_factory.mktemp("pair") / "server.log"
    keys = "--api-keys-file", str(key_file), "--open-metrics", "--max-requests", "8"
    flags = "--api-server-count", "2", "--keep-ratio", "0.5", "--allow-reduction-method", "--no-throughput-guard"
    traced = "--otlp-traces-endpoint", collector.endpoint, "--playground", *selection_tap.flags
    env = {"TMPDIR": str(scratch), **ENVIRONMENT, **selection_tap.environment(scratch / "selections")}
    with serving(tiny_model, log, *flags, *keys, *traced, env=env) as running:
        yield running


@pytest.fixture(scope="module")
def clients(pair: Server):
    """A held connection to each process."""
    assert eventually(lambda: pair.log.read_text().count(STARTED) == 2, START_SECONDS), pair.log_tail()
    with held_connections(pair) as held:
        yield held


@contextmanager
def held_connections(
    pair: Server, make: Callable[[str], httpx.Client] = keeping_client
) -> Iterator[list[httpx.Client]]:
    """One to each process, in the order of the processes."""
    with ExitStack() as stack:
        yield [stack.enter_context(client_of(pair, number, make)) for number in (0, 1)]


@contextmanager
def client_of(pair: Server, number: int, make: Callable[[str], httpx.Client]) -> Iterator[httpx.Client]:
    """A client that has a connection to one of the processes, and keeps it.

    Which one takes a new connection is up to the kernel, so the other one stands still meanwhile.
    """
    both = sorted(processes(pair, "APIServer"), key=lambda process: process.pid)
    assert len(both) == 2
    others = [process for process in both if process is not both[number]]
    with make(pair.url) as client:
        client.headers.update(KEY)
        with standing_still(others):
            assert client.get("/health").status_code == 200
        yield client


@pytest.fixture(scope="module")
def answers(clients, picture):
    """A good and a bad request to each process."""
    return [client.post(CHAT, json=chat_body(picture, keep_ratio=ratio)) for client in clients for ratio in (0.222, 7)]


def test_both_reduce_and_both_refuse(answers):
    assert [answer.status_code for answer in answers] == [200, 400, 200, 400]
    assert [answer.headers.get(headers.RETAINED) for answer in answers] == ["288", None, "288", None]


def test_both_have_served(answers, scratch):
    def counted() -> int:
        """Processes that have counted a request; the last one counts when its answer is out already."""
        counters = scratch.glob("sppruner-metrics-*/counter_*.db")
        return len([file for file in counters if b"sppruner_requests_total" in file.read_bytes()])

    assert eventually(lambda: counted() == 2)


def test_whichever_process_is_asked_the_metrics_are_those_of_both(clients, answers):
    for client in clients:
        assert eventually(lambda client=client: metric(client, "sppruner_requests_total") == 4)
        assert metric(client, "sppruner_requests_total", outcome="success") == 2
        assert metric(client, "sppruner_requests_total", outcome="client_error") == 2
        assert metric(client, "sppruner_visual_tokens_retained_total") == 2 * 288
        assert metric(client, "sppruner_time_to_first_token_seconds_count", ratio_band="0.1-0.25") == 2
        assert metric(client, "sppruner_rejected_total", reason="invalid_keep_ratio") == 2


def test_what_is_in_flight_is_told_of_both(pair, clients, answers):
    assert eventually(lambda: metric(clients[0], "sppruner_requests_in_flight") == 0)
    with held_connections(pair, narrow_client) as (one, other), unread(one), unread(other):
        assert metric(clients[0], "sppruner_requests_in_flight") == 2


def test_what_is_a_fact_is_told_once(clients, answers):
    assert metric(clients[0], "sppruner_build_info") == 1
    assert metric(clients[0], "sppruner_keep_ratio_limit", bound="default") == 0.5
    text = clients[0].get("/metrics").text
    assert not [line for line in text.splitlines() if "sppruner_" in line and "pid=" in line]


def test_the_stages_of_a_request_are_spans_of_one_trace(clients, answers, collector, picture):
    trace = secrets.token_hex(16)
    parent = {"traceparent": f"00-{trace}-{secrets.token_hex(8)}-01"}
    body = chat_body(picture, keep_ratio=0.222, text="anew")
    assert clients[0].post(CHAT, json=body, headers=parent).status_code == 200
    names = "sppruner.request", "sppruner.validate", "sppruner.render", "llm_request"

    def spans():
        return {span.name: span for span in collector.spans if span.trace_id.hex() == trace}

    assert eventually(lambda: spans().keys() >= set(names)), sorted(span.name for span in collector.spans)
    request, *stages = (spans()[name] for name in names)
    assert {stage.parent_span_id for stage in stages} == {request.span_id}
    assert eventually(lambda: collector.named("sppruner.select") != []), "the worker traces the selection"


def test_both_answer_like_a_single_process(clients, answers, client, picture):
    body = chat_body(picture, picture, text="what differs", keep_ratio=0.3, max_tokens=8)
    alone, *both = (one.post(CHAT, json=body).json() for one in (client, *clients))
    assert [answer["choices"][0]["message"] for answer in both] == [alone["choices"][0]["message"]] * 2
    assert [answer["usage"]["prompt_tokens"] for answer in both] == [alone["usage"]["prompt_tokens"]] * 2


def test_both_tell_what_the_one_worker_kept(clients, answers, scratch, picture):
    small = data_url(png(336, 336, seed=8))
    body = chat_body(picture, small, text="anew", keep_ratio=0.3)
    for client in clients:
        with selection_tap.tapped(scratch / "selections") as kept:
            told = client.post("/v1/visual-tokens", json=body).json()["pictures"]
        assert [one["kept"] for one in told] == sorted(kept, reverse=True, key=len)
        with selection_tap.tapped(scratch / "selections") as kept:
            usage = client.post(CHAT, json={**body, "include": ["visual_tokens.selection"]}).json()["usage"]
        beside = usage["prompt_tokens_details"]["visual_tokens"]["selection"]
        assert [one["kept"] for one in beside] == sorted(kept, reverse=True, key=len)


@pytest.mark.parametrize("path", ["/playground", "/playground/main.js", "/playground/nothing.js"])
def test_the_playground_is_nowhere_without_a_key(pair, path):
    with httpx.Client(base_url=pair.url) as guest:
        refused = guest.get(path)
        assert refused.status_code == guest.get(path, auth=("me", "wrong")).status_code == 401
        assert refused.headers["www-authenticate"].startswith("Basic ")
        assert refused.json()["error"]["code"] == "invalid_api_key"
        there = 404 if "nothing" in path else 200
        assert guest.get(path, auth=("anyone", "key-of-tests")).status_code == there
        assert guest.get(path, headers=KEY).status_code == there


@pytest.mark.parametrize("path", ["/v1/models", "/playgroundx", "/v1/visual-tokens"])
def test_what_a_browser_sends_by_itself_opens_nothing_but_the_page(pair, path):
    with httpx.Client(base_url=pair.url, auth=("anyone", "key-of-tests")) as guest:
        assert guest.get(path).status_code == 401
        assert guest.post("/playground").status_code == 401


def test_on_the_page_a_key_is_asked_for_and_taken(pair, clients, scratch):
    with browsing(scratch / "driver.log") as browser:
        browser.open(pair.url.replace("http://", "http://me:key-of-tests@") + "/playground")
        assert browser.eventually("document.getElementById('error').textContent.includes('invalid_api_key')")
        assert browser.run("return document.activeElement.id") == "key"
        browser.type("#key", "key-of-tests\n")
        assert browser.eventually("document.getElementById('state').textContent === 'Done.'"), browser.text("#error")
        assert browser.run("return document.getElementById('error').hidden")
        stored = "return [localStorage.length, sessionStorage.length, document.cookie]"
        assert browser.run(stored) == [0, 0, ""]


def test_the_operators_default_ratio_reaches_both(clients, answers, picture):
    responses = [client.post(CHAT, json=chat_body(picture)) for client in clients]
    assert [response.headers[headers.RETAINED] for response in responses] == ["648", "648"]


def test_a_request_may_choose_the_method_the_operator_opened(clients, answers, picture):
    responses = [client.post(CHAT, json=chat_body(picture, reduction_method="uniform")) for client in clients]
    assert [response.headers[headers.METHOD] for response in responses] == ["uniform", "uniform"]


def test_both_know_what_a_picture_was_asked_first(clients, answers):
    one, other = clients
    picture = data_url(png(336, 336, seed=7))
    asked = (one, "where is the cat"), (other, "and the dog"), (one, "and the dog"), (other, "where is the cat")
    said = [
        client.post(CHAT, json=chat_body(picture, text=text, focus_scope="auto")).headers[headers.FOCUS_SCOPE]
        for client, text in asked
    ]
    assert said == ["question", "image", "image", "question"]


@pytest.mark.parametrize(("method", "retained"), [("downscale", 16 * 18), ("hybrid", 288)])
def test_methods_that_send_a_smaller_image_count_from_the_image_as_sent(clients, answers, picture, method, retained):
    body = chat_body(picture, keep_ratio=0.222, reduction_method=method)
    for response in (client.post(CHAT, json=body) for client in clients):
        details = response.json()["usage"]["prompt_tokens_details"]
        assert details["visual_tokens"] == {
            "original": 1296,
            "retained": retained,
            "keep_ratio": 0.222,
            "method": method,
            "skipped_reason": None,
            "focus_scope": "question" if method == "hybrid" else None,
        }
        assert details["multimodal_tokens"] == {"image": retained}
        assert response.headers[headers.RETAINED] == str(retained)


def test_both_ask_for_a_key_and_metrics_are_open(pair, clients):
    for client in clients:
        statuses = [client.get(path, headers={"authorization": ""}).status_code for path in ("/v1/models", "/metrics")]
        assert statuses == [401, 200]


def test_the_rate_of_a_key_is_that_of_both(clients):
    body = {"model": MODEL_NAME, "prompt": "a"}
    answers = [client.post("/tokenize", json=body, headers=RARE) for client in (*clients, *clients)]
    assert [answer.status_code for answer in answers] == [200, 429, 429, 429]


def test_each_has_its_share_of_the_requests_in_flight(pair, clients):
    """Of 8 each may have 4."""
    one, other = clients
    with ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(unread(stack.enter_context(client_of(pair, 0, narrow_client))))
        refused = one.post(CHAT, json=chat_body(text="hello"))
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "server_overloaded")
        assert int(refused.headers["retry-after"]) > 0
        assert other.post(CHAT, json=chat_body(text="hello")).status_code == 200


def test_a_new_key_opens_both(clients, key_file):
    fresh = key_file.with_suffix(".new")
    fresh.write_text(KEYS + '[[key]]\nname = "new"\nkey = "key-of-new"\n')
    fresh.replace(key_file)
    new = {"x-api-key": "key-of-new", "authorization": ""}
    for client in clients:
        assert eventually(lambda client=client: client.get("/v1/models", headers=new).status_code == 200)


def test_stopping_them_leaves_no_process_and_no_metrics_folder(pair, scratch):
    assert list(scratch.glob("sppruner-metrics-*"))
    pair.process.terminate()
    pair.process.wait(STOP_SECONDS)
    assert eventually(lambda: not pair.living()), pair.living()
    assert not list(scratch.glob("sppruner-metrics-*"))
