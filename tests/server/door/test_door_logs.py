"""What the log has of a request, and what it never has."""

from __future__ import annotations

import json

import httpx

from door.served import AS_JSON, CHAT, PICTURE
from serving import Server, chat_body, eventually

SECRET_PROMPT = "a-prompt-that-no-log-may-hold"


def lines_of(server: Server, request_id: str) -> list[dict[str, object]]:
    """The whole lines about a request; the last one may still be written."""
    lines = server.log.read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if request_id in line and line.endswith("\n")]


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
