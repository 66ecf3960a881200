"""The door of the server: keys, ids, limits, time limits. One server that has them all, its limits low."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import http.client
import io
import json
import re
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import psutil
import pytest
import torch
from anthropic_bodies import messages_body

from serving import MODEL_NAME, Server, chat_body, data_url, eventually, frozen, metric, png, serving

CHAT = "/v1/chat/completions"
LIMIT = 64
BODY_MIB = 2
SECRET_PROMPT = "a-prompt-that-no-log-may-hold"
PICTURE = data_url(png(336, 336))
"""144 visual tokens."""

AS_JSON = {"content-type": "application/json"}
ALICE = {"authorization": "Bearer key-of-alice"}
BOUNDED = {"x-api-key": "key-of-bounded"}
RARE = {"authorization": "Bearer key-of-rare"}
ONE_AT_A_TIME = {"authorization": "Bearer key-of-one-at-a-time"}

KEYS = f"""
[[key]]
name = "alice"
key = "key-of-alice"

[[key]]
name = "hashed"
sha256 = "{hashlib.sha256(b"key-of-hashed").hexdigest()}"

[[key]]
name = "bounded"
key = "key-of-bounded"
min_keep_ratio = 0.25
max_keep_ratio = 0.5

[[key]]
name = "rare"
key = "key-of-rare"
requests_per_minute = 0.02

[[key]]
name = "one-at-a-time"
key = "key-of-one-at-a-time"
max_in_flight = 1
"""


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("keys") / "keys.toml"
    file.write_text(KEYS)
    return file


@pytest.fixture(scope="module")
def door(tiny_model: Path, key_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("door") / "server.log"
    flags = ["--api-keys-file", str(key_file), "--json-logs", "--allowed-origins", '["https://page.example"]']
    limits = {
        "--max-requests": LIMIT,
        "--max-body-mib": BODY_MIB,
        "--header-timeout": 5,
        "--body-timeout": 5,
        "--write-timeout": 5,
    }
    flags += [str(word) for limit in limits.items() for word in limit]
    flags += ["--trust-request-mm-kwargs", "--enable-mm-embeds"]
    keys = {"VLLM_API_KEY": "key-of-vllm", "SPPRUNER_API_KEYS": "key-of-environment, another-of-environment"}
    with serving(tiny_model, log, *flags, env=keys) as running:
        yield running


@pytest.fixture(scope="module")
def guest(door: Server) -> Iterator[httpx.Client]:
    """Without a key."""
    with httpx.Client(base_url=door.url, timeout=120) as http:
        yield http


@pytest.fixture(scope="module")
def alice(door: Server) -> Iterator[httpx.Client]:
    """With a key that has no limits of its own."""
    with httpx.Client(base_url=door.url, timeout=120, headers=ALICE) as http:
        yield http


def port_of(server: Server) -> int:
    return int(server.url.rsplit(":", 1)[1])


def ask_raw(server: Server, method: str, target: str, headers: dict[str, str] | None = None) -> tuple[int, dict, bytes]:
    """Status, headers and body of a request whose target goes out as it is written."""
    connection = http.client.HTTPConnection("127.0.0.1", port_of(server), timeout=120)
    try:
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in (headers or {}).items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def opened(server: Server, sent: bytes) -> socket.socket:
    """A connection on which something was sent, and whose own buffer holds next to nothing."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.settimeout(60)
    made.connect(("127.0.0.1", port_of(server)))
    made.sendall(sent)
    return made


def all_of(made: socket.socket) -> bytes:
    """What comes until the server closes; a reset ends it too."""
    read = b""
    with suppress(ConnectionResetError):
        while piece := made.recv(65536):
            read += piece
    return read


def refused(client: httpx.Client) -> dict[str, float]:
    reasons = ("invalid_api_key", "request_too_large", "request_timeout", "rate_limit_exceeded", "server_overloaded")
    return {reason: metric(client, "sppruner_rejected_total", reason=reason) for reason in reasons}


# Keys

GUARDED = [
    ("GET", "/metrics"),
    ("GET", "/version"),
    ("GET", "/load"),
    ("GET", "/docs"),
    ("GET", "/redoc"),
    ("GET", "/openapi.json"),
    ("GET", "/v1/models"),
    ("GET", f"/v1/models/{MODEL_NAME}"),
    ("HEAD", "/v1/models"),
    ("OPTIONS", "/v1/models"),
    ("OPTIONS", "*"),
    ("POST", CHAT),
    ("POST", "/v1/messages"),
    ("POST", "/v1/completions"),
    ("POST", "/v1/responses"),
    ("POST", "/invocations"),
    ("POST", "/tokenize"),
    ("POST", "/detokenize"),
    ("POST", "/scale_elastic_ep"),
    ("POST", "/is_scaling_elastic_ep"),
    ("POST", "/generative_scoring"),
    ("POST", "/inference/v1/generate"),
    ("POST", "/collective_rpc"),
    ("POST", "/health"),
    ("DELETE", "/health"),
    ("GET", "//v1/models"),
    ("GET", "/v1//models"),
    ("GET", "/V1/MODELS"),
    ("GET", "/v1/models/"),
    ("GET", "/%761/models"),
    ("GET", "/%2e/v1/models"),
    ("GET", "/health/../v1/models"),
    ("GET", "/health/"),
    ("GET", "//health"),
    ("GET", "/HEALTH"),
    ("GET", "/health%2f"),
    ("GET", "/health%00"),
    ("GET", "/health;/v1/models"),
    ("GET", "/metrics/"),
    ("GET", "/metrics/health"),
    ("GET", "/no/such/path"),
    ("GET", "/"),
]


@pytest.mark.parametrize(("method", "target"), GUARDED)
def test_without_a_key_nothing_is_reached(door: Server, method: str, target: str) -> None:
    status, headers, body = ask_raw(door, method, target)
    assert status == 401
    assert headers["www-authenticate"].startswith("Bearer")
    assert headers["x-request-id"]
    if method != "HEAD":
        assert json.loads(body)["error"]["code"] == "invalid_api_key"
        assert json.loads(body)["error"]["type"] == "authentication_error"


@pytest.mark.parametrize("path", ["/health", "/ping"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_probes_need_no_key(door: Server, method: str, path: str) -> None:
    status, _, body = ask_raw(door, method, path)
    assert (status, body) == (200, b"")


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health?a=b"])
def test_no_probe_is_asked_for_a_key(door: Server, path: str) -> None:
    assert ask_raw(door, "GET", path)[0] != 401


KNOWN = [
    ALICE,
    {"authorization": "bearer key-of-alice"},
    {"authorization": "BEARER   key-of-alice"},
    {"x-api-key": "key-of-alice"},
    {"X-API-Key": "key-of-hashed"},
    {"authorization": "Bearer key-of-vllm"},
    {"x-api-key": "key-of-vllm"},
    {"authorization": "Bearer key-of-environment"},
    {"authorization": "Bearer another-of-environment"},
    {"authorization": "Basic c29tZTpwcm94eQ==", "x-api-key": "key-of-alice"},
]


@pytest.mark.parametrize("headers", KNOWN)
@pytest.mark.parametrize("path", ["/v1/models", "/metrics", "/version", "/openapi.json"])
def test_every_kind_of_key_opens_every_path(guest: httpx.Client, headers: dict[str, str], path: str) -> None:
    assert guest.get(path, headers=headers).status_code == 200


WRONG = [
    {"authorization": "Bearer key-of-alic"},
    {"authorization": "Bearer key-of-alicee"},
    {"authorization": "Bearer KEY-OF-ALICE"},
    {"authorization": "Bearer"},
    {"authorization": "key-of-alice"},
    {"authorization": "Basic key-of-alice"},
    {"authorization": f"Bearer {hashlib.sha256(b'key-of-hashed').hexdigest()}"},
    {"x-api-key": "Bearer key-of-alice"},
    {"x-api-key": "alice"},
    {"api-key": "key-of-alice"},
    {"cookie": "authorization=Bearer key-of-alice"},
]


@pytest.mark.parametrize("headers", WRONG)
def test_what_is_no_key_opens_nothing(guest: httpx.Client, headers: dict[str, str]) -> None:
    answer = guest.get("/v1/models", headers=headers)
    assert answer.status_code == 401
    assert "key-of" not in answer.text


def test_a_key_in_the_query_opens_nothing(guest: httpx.Client) -> None:
    assert guest.get("/v1/models?api_key=key-of-alice&x-api-key=key-of-alice").status_code == 401


def test_anthropics_clients_are_told_in_their_own_shape(guest: httpx.Client) -> None:
    answer = guest.post("/v1/messages", json=messages_body(PICTURE))
    assert answer.status_code == 401
    assert answer.json()["type"] == "error"
    assert answer.json()["error"]["type"] == "authentication_error"
    assert answer.json()["request_id"] == answer.headers["request-id"] == answer.headers["x-request-id"]


def test_a_websocket_needs_a_key_too(door: Server) -> None:
    upgrade = {
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "x3JJHMbDL1EzLkh9GBhXDw==",
    }
    status, headers, body = ask_raw(door, "GET", "/v1/realtime", upgrade)
    assert status == 401
    assert json.loads(body)["error"]["code"] == "invalid_api_key"
    assert headers["x-request-id"]


CLOSED = [
    "/scale_elastic_ep",
    "/is_scaling_elastic_ep",
    "/generative_scoring",
    "/kv_event_sources",
    "/inference/v1/generate",
    "/inference/v1/abort_requests",
    "/v1/chat/completions/render",
    "/v1/completions/derender",
    "/reset_prefix_cache",
    "/collective_rpc",
    "/server_info",
    "/sleep",
    "/pause",
    "/update_weights",
    "/start_profile",
    "/v1/load_lora_adapter",
]


@pytest.mark.parametrize("path", CLOSED)
def test_routes_for_the_operator_are_not_there_even_with_a_key(alice: httpx.Client, path: str) -> None:
    assert alice.post(path, json={}).status_code == 404
    assert alice.get(path).status_code == 404
    assert path not in alice.get("/openapi.json").json()["paths"]


# Ids


@pytest.mark.parametrize("given", ["abc-123", "a" * 128, "4bf92f3577b34da6a3ce929d0e0e4736", "req_1.2:3/4+5="])
def test_a_sane_id_comes_back(alice: httpx.Client, given: str) -> None:
    assert alice.get("/v1/models", headers={"x-request-id": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "a" * 129, "two words", 'a"b', "a\tb", "{}", "<script>", "\xe9", "-rf"])
def test_any_other_id_is_replaced(alice: httpx.Client, given: str) -> None:
    answer = alice.get("/v1/models", headers={"x-request-id": given.encode("latin-1")})
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])


def test_every_answer_has_one_id_of_its_own(guest: httpx.Client, alice: httpx.Client) -> None:
    answers = [
        guest.get("/health"),
        guest.get("/v1/models"),
        alice.get("/nowhere"),
        alice.delete("/v1/models"),
        alice.post(CHAT, content=b"{", headers=AS_JSON),
        alice.post(CHAT, json=chat_body(PICTURE, keep_ratio=7)),
        alice.post(CHAT, json=chat_body(text="hello")),
        alice.post(CHAT, json=chat_body(text="hello", stream=True)),
    ]
    assert [answer.status_code for answer in answers] == [200, 401, 404, 405, 400, 400, 200, 200]
    ids = [answer.headers.get_list("x-request-id") for answer in answers]
    assert all(len(each) == 1 for each in ids)
    assert len({each[0] for each in ids}) == len(ids)


def test_vllms_answer_bears_the_id_of_the_request(alice: httpx.Client) -> None:
    answer = alice.post(CHAT, json=chat_body(text="hello"), headers={"x-request-id": "mine-1"})
    assert answer.json()["id"] == "chatcmpl-mine-1"
    answer = alice.post(CHAT, json=chat_body(text="hello"))
    assert answer.json()["id"] == f"chatcmpl-{answer.headers['x-request-id']}"


# Bodies


def head(path: str, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "host: x", "content-type: application/json", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


WITH_KEY = "authorization: Bearer key-of-alice"
LARGE = f"content-length: {200 * 2**20}"


@pytest.mark.parametrize("path", ["/v1/messages", "/invocations"])
def test_too_large_a_body_is_refused_before_any_of_it_is_sent(door: Server, path: str) -> None:
    with opened(door, head(path, WITH_KEY, LARGE)) as connection:
        answer = all_of(connection)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer
    assert b'"request_too_large"' in answer


def test_whoever_has_no_key_need_not_send_a_body(door: Server) -> None:
    with opened(door, head(CHAT, LARGE)) as connection:
        answer = all_of(connection)
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"connection: close" in answer


@pytest.mark.parametrize("key", [WITH_KEY, "x-api-key: none"])
def test_a_client_that_is_asked_to_wait_sends_nothing_in_vain(door: Server, key: str) -> None:
    with opened(door, head(CHAT, key, LARGE, "expect: 100-continue")) as connection:
        assert b"100 Continue" not in all_of(connection)


def test_a_body_without_a_length_is_cut_off_at_the_limit(door: Server, alice: httpx.Client) -> None:
    answer = alice.post(CHAT, content=iter([b" " * 2**18] * (4 * BODY_MIB + 2)))
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "request_too_large"
    assert f"{BODY_MIB} MiB" in answer.json()["error"]["message"]


def test_a_body_of_just_the_limit_is_read(alice: httpx.Client) -> None:
    body, most = json.dumps(chat_body(text="hello")).encode(), BODY_MIB * 2**20
    assert alice.post(CHAT, content=body.ljust(most), headers=AS_JSON).status_code == 200
    assert alice.post(CHAT, content=body.ljust(most + 1), headers=AS_JSON).status_code == 413


def test_a_large_body_of_a_refused_request_ends_the_connection_and_a_small_one_does_not(guest: httpx.Client) -> None:
    assert guest.post(CHAT, content=b" " * 2**20).headers["connection"] == "close"
    assert "connection" not in guest.post(CHAT, content=b" " * 2**10).headers


@pytest.mark.parametrize("sent", [b"NONSENSE\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET /\r\nhost x\r\n\r\n"])
def test_what_is_not_http_is_answered_in_the_shape_of_the_api(door: Server, sent: bytes) -> None:
    with opened(door, sent) as connection:
        head_, _, body = all_of(connection).partition(b"\r\n\r\n")
    assert head_.startswith(b"HTTP/1.1 400 ")
    assert b"x-request-id: " in head_
    assert json.loads(body)["error"]["code"] == "invalid_http"


@pytest.mark.parametrize(
    "hosts", [[], ["host: a", "host: b"], ["host: a", "host: a"], ["host: a b"], ["host: a/b"], ["host: a:x"]], ids=repr
)
def test_a_request_for_no_host_or_several_is_refused(door: Server, hosts: list[str]) -> None:
    lines = ["GET /livez HTTP/1.1", *hosts, "connection: close", "", ""]
    with opened(door, "\r\n".join(lines).encode()) as connection:
        head_, _, body = all_of(connection).partition(b"\r\n\r\n")
    assert head_.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body)["error"]["code"] == "invalid_http"


@pytest.mark.parametrize("host", ["host: a.example:80", "host: [::1]:8000", "host: "])
def test_a_request_for_one_host_is_taken(door: Server, host: str) -> None:
    lines = ["GET /livez HTTP/1.1", host, "connection: close", "", ""]
    with opened(door, "\r\n".join(lines).encode()) as connection:
        assert all_of(connection).startswith(b"HTTP/1.1 200 ")


def test_a_body_beside_the_wish_for_another_protocol_is_read(door: Server) -> None:
    """As Java's HTTP client sends it."""
    body = json.dumps(chat_body(text="hello", max_tokens=1)).encode()
    upgrade = ["connection: Upgrade, HTTP2-Settings", "upgrade: h2c", "http2-settings: AAMAAABkAAQAAP__"]
    with opened(door, head(CHAT, WITH_KEY, f"content-length: {len(body)}", *upgrade) + body) as connection:
        assert connection.recv(13) == b"HTTP/1.1 200 "


def test_a_slash_too_many_leads_to_a_path_whatever_the_host_says(door: Server) -> None:
    status, headers, _ = ask_raw(door, "POST", f"{CHAT}/?a=b", {"x-forwarded-host": "evil.example", **ALICE})
    assert (status, headers["location"]) == (307, f"{CHAT}?a=b")


def test_a_head_without_end_is_refused(door: Server) -> None:
    with opened(door, b"GET /health HTTP/1.1\r\nx: ") as connection:
        with suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(64):
                connection.sendall(b"x" * 2**14)
        assert all_of(connection)[:13] in (b"HTTP/1.1 431 ", b"")
    with httpx.Client(base_url=door.url, headers=ALICE) as client:
        assert metric(client, "sppruner_rejected_total", reason="head_too_large") == 1


# Bounds of a key


def retained(answer: httpx.Response) -> str | None:
    return answer.headers.get("x-sppruner-visual-tokens-retained")


@pytest.mark.parametrize(
    ("fields", "tokens"),
    [
        ({}, 72),  # the server's default of 1 is above its bounds
        ({"keep_ratio": 0.25}, 36),
        ({"keep_ratio": 0.5}, 72),
        ({"keep_tokens": 144}, 72),
        ({"keep_tokens": 2}, 36),
        ({"mm_processor_kwargs": {"keep_ratio": 0.4}}, 58),
    ],
)
def test_a_key_keeps_to_its_bounds(guest: httpx.Client, fields: dict[str, object], tokens: int) -> None:
    answer = guest.post(CHAT, json=chat_body(PICTURE, **fields), headers=BOUNDED)
    assert retained(answer) == str(tokens)
    assert answer.json()["usage"]["prompt_tokens_details"]["visual_tokens"]["retained"] == tokens


@pytest.mark.parametrize("fields", [{"keep_ratio": 0.51}, {"keep_ratio": 1}, {"keep_ratio": 0.2}])
@pytest.mark.parametrize("path", [CHAT, "/v1/messages", "/tokenize", "/invocations"])
def test_a_key_is_refused_beyond_its_bounds_on_every_endpoint(
    guest: httpx.Client, path: str, fields: dict[str, object]
) -> None:
    body = (messages_body if path == "/v1/messages" else chat_body)(PICTURE, **fields)
    answer = guest.post(path, json=body, headers=BOUNDED)
    assert answer.status_code == 400
    assert "between 0.25 and 0.5" in answer.text
    assert guest.post(path, json=body, headers=ALICE).status_code == 200


def test_ratio_bounds_are_no_field_of_a_request(alice: httpx.Client) -> None:
    asked = chat_body(PICTURE, keep_ratio=0.25, mm_processor_kwargs={"ratio_bounds": [0.5, 0.5]})
    usage = alice.post(CHAT, json=asked).json()["usage"]
    assert usage["prompt_tokens_details"]["visual_tokens"]["retained"] == 36


# Rates and limits


def test_a_key_beyond_its_rate_is_told_when_to_come_again(guest: httpx.Client) -> None:
    answers = [guest.post("/tokenize", json={"model": MODEL_NAME, "prompt": "a"}, headers=RARE) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 429, 429]
    assert answers[1].json()["error"]["code"] == "rate_limit_exceeded"
    assert answers[1].json()["error"]["type"] == "rate_limit_error"
    assert 0 < int(answers[1].headers["retry-after"]) <= 3000
    assert guest.get("/v1/models", headers=RARE).status_code == 200


def test_a_key_has_as_many_requests_in_flight_as_it_may(door: Server, guest: httpx.Client, alice: httpx.Client) -> None:
    def ask(headers: dict[str, str]) -> httpx.Response:
        return guest.post(CHAT, json=chat_body(text="hello"), headers=headers)

    def in_flight() -> float:
        return metric(alice, "sppruner_requests_in_flight")

    assert eventually(lambda: in_flight() == 0)
    with ThreadPoolExecutor(2) as threads, frozen(door):  # nobody is answered by the engine before the block ends
        first = threads.submit(ask, ONE_AT_A_TIME)
        assert eventually(lambda: in_flight() == 1)
        second = ask(ONE_AT_A_TIME)
        assert second.status_code == 429
        assert int(second.headers["retry-after"]) > 0
        other = threads.submit(ask, ALICE)
        assert eventually(lambda: in_flight() == 2), "another key is let in"
    assert [answer.result().status_code for answer in (first, other)] == [200, 200]
    assert eventually(lambda: ask(ONE_AT_A_TIME).status_code == 200)


async def statuses_of_streams(url: str, count: int) -> Counter[tuple[int, bool]]:
    """Status, and whether there was a hint when to come again, of so many streams that are all open at once."""
    body = chat_body(text="hello", stream=True, max_tokens=3900, ignore_eos=True)
    limits = httpx.Limits(max_connections=count)
    async with httpx.AsyncClient(base_url=url, timeout=120, headers=ALICE, limits=limits) as client:

        async def begin() -> httpx.Response:
            return await client.send(client.build_request("POST", CHAT, json=body), stream=True)

        answers = await asyncio.gather(*(begin() for _ in range(count)))
        found = Counter((answer.status_code, "retry-after" in answer.headers) for answer in answers)
        await asyncio.gather(*(answer.aclose() for answer in answers))
    return found


def test_150_requests_at_a_limit_of_64_are_64_answers_and_86_refusals(door: Server, alice: httpx.Client) -> None:
    before = refused(alice)["server_overloaded"]
    assert asyncio.run(statuses_of_streams(door.url, 150)) == {(200, False): LIMIT, (503, True): 150 - LIMIT}
    assert refused(alice)["server_overloaded"] - before == 150 - LIMIT
    assert eventually(lambda: alice.post(CHAT, json=chat_body(text="hello")).status_code == 200)


def test_200_slow_sockets_keep_nobody_waiting_and_are_ended(door: Server, alice: httpx.Client) -> None:
    before = refused(alice)["request_timeout"]
    slow_head = b"GET /health HTTP/1.1\r\nx-slow: "
    slow_body = head(CHAT, WITH_KEY, "content-length: 1000")
    unread = f"GET /openapi.json HTTP/1.1\r\nhost: x\r\n{WITH_KEY}\r\n\r\n".encode()
    # Some 10 MB, which no buffer of the system takes in.
    long = json.dumps(chat_body(stream=True, max_tokens=3900, ignore_eos=True, logprobs=True, top_logprobs=20)).encode()
    stream = head(CHAT, WITH_KEY, f"content-length: {len(long)}") + long
    with ExitStack() as stack:
        heads, bodies, readers, streams = (
            [stack.enter_context(opened(door, sent)) for _ in range(count)]
            for sent, count in ((slow_head, 70), (slow_body, 70), (unread, 59), (stream, 1))
        )
        for _ in range(20):
            for trickling in (*heads, *bodies):
                with suppress(BrokenPipeError, ConnectionResetError):  # it was ended already
                    trickling.sendall(b" ")
            assert alice.post(CHAT, json=chat_body(text="hello")).status_code == 200
            assert alice.get("/health").status_code == 200
        for trickling in (*heads, *bodies):
            # What was sent behind the server's end may have taken the answer with it.
            assert all_of(trickling)[:13] in (b"HTTP/1.1 408 ", b"")
        assert eventually(lambda: refused(alice)["request_timeout"] - before == len(heads) + len(bodies))
        ours = {reader.getsockname()[1] for reader in (*readers, *streams)}
        assert eventually(lambda: not ours & held_by(door))
        assert eventually(lambda: metric(alice, "vllm:num_requests_running") == 0)
    assert alice.post(CHAT, json=chat_body(text="hello")).status_code == 200


def held_by(server: Server) -> set[int]:
    """The ports of clients to whom the server's process has a connection."""
    connections = psutil.Process(server.process.pid).net_connections("tcp")
    return {connection.raddr.port for connection in connections if connection.raddr}


def test_vllms_refusals_are_counted_by_their_reason_as_ours_are(guest: httpx.Client, alice: httpx.Client) -> None:
    before = refused(alice)
    guest.get("/v1/models")
    guest.post(CHAT, content=b" " * 2**20)
    after = refused(alice)
    assert {reason: after[reason] - count for reason, count in before.items() if after[reason] != count} == {
        "invalid_api_key": 2
    }


# What a client may send that the operator trusts


@pytest.mark.parametrize("ratio", [{}, {"keep_ratio": 0.5}], ids=["whole", "reduced"])
@pytest.mark.parametrize(
    "kwargs",
    [
        {"merge_size": 1},
        {"merge_size": "x"},
        {"temporal_patch_size": 1},
        {"patch_size": 7},
        {"images_kwargs": {"temporal_patch_size": 1}},
        {"max_pixels": 0},
        {"size": {}},
        {"image_mean": [1]},
        {"device": "meta"},
        {"resample": 99},
        {"do_resize": "x"},
    ],
    ids=json.dumps,
)
def test_processor_kwargs_that_the_model_cannot_take_are_refused(alice, kwargs, ratio):
    response = alice.post(CHAT, json=chat_body(PICTURE, mm_processor_kwargs=kwargs, **ratio))
    assert response.status_code == 400, response.text
    assert alice.post(CHAT, json=chat_body(PICTURE)).status_code == 200


def test_processor_kwargs_that_it_can_take_are_served(alice):
    response = alice.post(CHAT, json=chat_body(PICTURE, mm_processor_kwargs={"max_pixels": 100352, "merge_size": 2}))
    assert response.status_code == 200, response.text


ROWS, WIDTH = 16, 256
GRID = torch.tensor([1, 8, 8])

MISFITS = {
    "three dimensions": (torch.zeros(1, ROWS, WIDTH), GRID),
    "one dimension": (torch.zeros(WIDTH), GRID),
    "another width": (torch.zeros(ROWS, WIDTH + 1), GRID),
    "a row too few": (torch.zeros(ROWS - 1, WIDTH), GRID),
    "whole numbers": (torch.zeros(ROWS, WIDTH, dtype=torch.int64), GRID),
    "no numbers": (torch.full((ROWS, WIDTH), torch.nan), GRID),
    "several frames": (torch.zeros(ROWS, WIDTH), torch.tensor([4, 4, 4])),
    "odd sides": (torch.zeros(12, WIDTH), torch.tensor([1, 7, 8])),
    "sides below zero": (torch.zeros(ROWS, WIDTH), -GRID),
    "a grid of two": (torch.zeros(ROWS, WIDTH), GRID[:2]),
    "a grid of fractions": (torch.zeros(ROWS, WIDTH), GRID.float()),
}


def embedded(rows: torch.Tensor, grid: torch.Tensor, **fields: object) -> dict[str, object]:
    """A chat about a picture that comes encoded."""

    def text(tensor: torch.Tensor) -> str:
        torch.save(tensor.clone(), buffer := io.BytesIO())
        return base64.b64encode(buffer.getvalue()).decode()

    part = {"type": "image_embeds", "image_embeds": {"image_embeds": text(rows), "image_grid_thw": text(grid)}}
    return {**chat_body(), "messages": [{"role": "user", "content": [part]}], **fields}


@pytest.mark.parametrize("ratio", [{}, {"keep_ratio": 0.5}], ids=["whole", "reduced"])
@pytest.mark.parametrize("name", MISFITS)
def test_embeddings_that_are_no_picture_are_refused(alice, name, ratio):
    response = alice.post(CHAT, json=embedded(*MISFITS[name], **ratio))
    assert response.status_code == 400, response.text
    assert alice.post(CHAT, json=embedded(torch.zeros(ROWS, WIDTH), GRID)).status_code == 200


# Pages in a browser


def test_a_page_of_the_list_may_ask_and_read_everything(guest: httpx.Client) -> None:
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
    origin = {"origin": "https://page.example"}
    answer = guest.options(CHAT, headers=origin | asked)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "https://page.example"
    refusal = guest.get("/v1/models", headers=origin)
    assert refusal.status_code == 401
    assert refusal.headers["access-control-allow-origin"] == "https://page.example"
    assert "x-request-id" in refusal.headers["access-control-expose-headers"]


@pytest.mark.parametrize("origin", ["https://other.example", "http://page.example", "null"])
def test_no_other_page_may(guest: httpx.Client, origin: str) -> None:
    asked = {"origin": origin, "access-control-request-method": "POST"}
    answer = guest.options(CHAT, headers=asked)
    assert answer.status_code == 400
    assert "access-control-allow-origin" not in answer.headers
    assert "access-control-allow-origin" not in guest.get("/v1/models", headers={**ALICE, **asked}).headers


# Logs


def lines_of(server: Server, request_id: str) -> list[dict[str, object]]:
    """The lines about a request."""
    lines = [line for line in server.log.read_text().splitlines() if request_id in line]
    return [json.loads(line) for line in lines]


def test_a_request_leaves_one_line_of_json_without_its_content(door: Server, alice: httpx.Client) -> None:
    body = chat_body(PICTURE, text=SECRET_PROMPT, keep_ratio=0.5)
    answer = alice.post(f"{CHAT}?secret=in-the-query", json=body, headers={"x-request-id": "logged-1"})
    assert answer.status_code == 200

    def ours() -> list[dict[str, object]]:
        return [line for line in lines_of(door, '"logged-1"') if line.get("logger") == "sppruner.access"]

    assert eventually(lambda: len(ours()) == 1)
    (line,) = ours()
    told = {"key": "alice", "method": "POST", "path": CHAT, "status": 200, "bytes_out": len(answer.content)}
    assert told.items() <= line.items()
    assert (line["visual_tokens_original"], line["visual_tokens_retained"], line["keep_ratio"]) == (144, 72, 0.5)


def test_no_log_holds_a_prompt_a_picture_a_key_or_a_query(door: Server, alice: httpx.Client) -> None:
    picture = PICTURE.partition(",")[2]
    for fields in ({}, {"keep_ratio": 7}, {"messages": [SECRET_PROMPT]}, {"max_tokens": SECRET_PROMPT}):
        alice.post(f"{CHAT}?secret=in-the-query", json={**chat_body(PICTURE, text=SECRET_PROMPT), **fields})
    alice.post(CHAT, content=f'{{"messages": "{SECRET_PROMPT} {picture}'.encode(), headers=AS_JSON)
    log = door.log.read_text()
    for secret in (SECRET_PROMPT, picture[100:200], "key-of-", "in-the-query"):
        assert secret not in log


# The file of keys; last, since it is changed


def status_of(client: httpx.Client, key: str) -> int:
    return client.get("/v1/models", headers={"x-api-key": key}).status_code


def test_a_new_key_opens_and_one_that_was_taken_out_does_not(guest: httpx.Client, key_file: Path) -> None:
    assert (status_of(guest, "key-of-alice"), status_of(guest, "key-of-newcomer")) == (200, 401)
    key_file.write_text('[[key]]\nname = "newcomer"\nkey = "key-of-newcomer"\n')
    assert eventually(lambda: status_of(guest, "key-of-newcomer") == 200)
    assert status_of(guest, "key-of-alice") == 401
    assert status_of(guest, "key-of-vllm") == 200


@pytest.mark.parametrize("content", ["", "[[key]]\nname = ", "[[key]]\nname = 'x'\nkey = 'a b'\n", None])
def test_a_file_that_cannot_be_used_changes_nothing_and_is_in_the_log(
    door: Server, guest: httpx.Client, key_file: Path, content: str | None
) -> None:
    before = door.log.read_text().count("the keys stay as they were")
    if content is None:
        key_file.unlink()
    else:
        key_file.write_text(content)

    def told() -> bool:
        assert status_of(guest, "key-of-newcomer") == 200
        return door.log.read_text().count("the keys stay as they were") > before

    assert eventually(told)
    assert status_of(guest, "key-of-newcomer") == 200
    assert status_of(guest, "key-of-alice") == 401
