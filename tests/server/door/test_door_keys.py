"""Who is let in, to what, and within which keep ratios."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import httpx
import pytest
from anthropic_bodies import messages_body

from door.served import ALICE, BOUNDED, CHAT, PICTURE, all_of, ask_raw, head, opened
from serving import MODEL_NAME, Server, chat_body

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
    ("POST", "/v1/visual-tokens"),
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


@pytest.mark.parametrize("name", ["x-api-key", "authorization"])
def test_a_header_that_names_two_keys_opens_nothing(guest: httpx.Client, name: str) -> None:
    alice, hashed = (f"{'Bearer ' * (name == 'authorization')}key-of-{who}" for who in ("alice", "hashed"))
    for pair, status in (((alice, hashed), 401), ((hashed, alice), 401), ((alice, alice), 200)):
        assert guest.get("/v1/models", headers=[(name, value) for value in pair]).status_code == status


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
    status, headers, body = ask_raw(door, "GET", "/metrics", {**upgrade, **ALICE})
    assert status == 405
    assert json.loads(body)["error"]["code"] == "method_not_allowed"


@pytest.mark.parametrize(("key", "trailer", "status"), [("a", "key-of-alice", 401), ("key-of-alice", "other", 200)])
def test_a_trailer_is_no_header(door: Server, key: str, trailer: str, status: int) -> None:
    said = json.dumps(chat_body(text="hello")).encode()
    rest = b"%x\r\n%s\r\n0\r\nx-api-key: %s\r\n\r\n" % (len(said), said, trailer.encode())
    start = head(CHAT, f"x-api-key: {key}", "transfer-encoding: chunked", "connection: close")
    with opened(door, start + rest) as connection:
        assert all_of(connection).startswith(b"HTTP/1.1 %d " % status)


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
    refused = alice.post(CHAT, json=asked)
    error = refused.json()["error"]
    assert (refused.status_code, error["code"]) == (400, "unknown_parameter")
    assert error["param"] == "mm_processor_kwargs.ratio_bounds"


def test_what_was_kept_is_told_by_no_server_that_was_not_started_so(alice: httpx.Client) -> None:
    assert alice.post("/v1/visual-tokens", json=chat_body(PICTURE)).json()["error"]["code"] == "unknown_url"
    refused = alice.post(CHAT, json=chat_body(PICTURE, include=["visual_tokens.selection"]))
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "unsupported_parameter")


def test_a_uuid_is_its_keys_own(door: Server) -> None:
    hashed = {"authorization": "Bearer key-of-hashed"}
    sent: dict[str, Any] = {"type": "image_url", "image_url": {"url": PICTURE}, "uuid": "holiday"}

    def asked(part: dict[str, Any], key: dict[str, str]) -> httpx.Response:
        messages = [{"role": "user", "content": [part, {"type": "text", "text": "what?"}]}]
        return guest.post(CHAT, json={"model": MODEL_NAME, "max_tokens": 1, "messages": messages}, headers=key)

    with httpx.Client(base_url=door.url, timeout=120) as guest:
        assert asked(sent, ALICE).status_code == 200
        refused = asked({**sent, "image_url": None}, hashed)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "messages[0].content[0].uuid")
        assert "alice" not in refused.text
        assert "hashed" not in refused.text
        assert asked({**sent, "image_url": None}, ALICE).status_code == 200
