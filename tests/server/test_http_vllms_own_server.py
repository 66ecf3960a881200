"""vLLM's own server with the plugin alone: no door and no gate of ours, but what reaches the processor is judged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from corpus.case import Case
from corpus.pictures import picture_cases
from serving import CPU_ENVIRONMENT, CPU_FLAGS, MODEL_NAME, START_SECONDS, chat_body, data_url, png
from sppruner_vllm.demo.server_process import STOCK, free_port, running_server, server_command, server_url

ONLY_PLUGIN = {"VLLM_PLUGINS": "sppruner", "SPPRUNER_KEEP_RATIO": "0.222"}
PICTURE = data_url(png(336, 336, seed=9100))
KEPT = 32
"""Of 144 visual tokens, at 0.222."""
CASES = picture_cases()


@pytest.fixture(scope="module")
def vllms(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    port = free_port()
    command = server_command(["--model", str(tiny_model), "--served-model-name", MODEL_NAME, *CPU_FLAGS], port, STOCK)
    log = tmp_path_factory.mktemp("vllms") / "server.log"
    environment = {**CPU_ENVIRONMENT, **ONLY_PLUGIN}
    with (
        running_server(command, server_url(port), environment, log=log, limit=START_SECONDS) as server,
        httpx.Client(base_url=server.url, timeout=240) as client,
    ):
        yield client


def asked(client: httpx.Client, *content: dict[str, Any], earlier: tuple[dict[str, Any], ...] = ()) -> httpx.Response:
    messages = [*earlier, {"role": "user", "content": list(content)}]
    body = {"model": MODEL_NAME, "messages": messages, "max_tokens": 1, "return_token_ids": True}
    return client.post("/v1/chat/completions", json=body)


def shown(picture: str = PICTURE) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": picture}}


def test_the_operators_ratio_holds_there(vllms: httpx.Client) -> None:
    answer = vllms.post("/v1/chat/completions", json=chat_body(PICTURE, max_tokens=1))
    assert answer.status_code == 200
    whole = asked(vllms, shown()).json()["prompt_token_ids"]
    pad = max(set(whole), key=whole.count)
    assert whole.count(pad) == KEPT


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_picture_is_taken_or_a_400_that_says_why(vllms: httpx.Client, case: Case) -> None:
    answer = asked(vllms, shown(data_url(case.content)))
    if case.truth is not None:
        assert answer.status_code == 200
        return
    assert answer.status_code == 400
    assert "image" in answer.json()["error"]["message"]


@pytest.mark.parametrize("value", ["x", "/etc/hostname", None, 5, {}, ["x"]])
def test_a_part_that_only_programs_can_fill_is_no_fault_of_the_server(vllms: httpx.Client, value: object) -> None:
    answer = asked(vllms, {"type": "image_pil", "image_pil": value})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]
    assert asked(vllms, shown()).status_code == 200


def test_a_typed_marker_takes_no_pictures_place(vllms: httpx.Client) -> None:
    def turns(first: str, second: str) -> tuple[dict[str, Any], ...]:
        return {"role": "user", "content": first}, {"role": "assistant", "content": second}

    marker = "<|vision_start|><|image_pad|><|vision_end|>"
    typed, plain = (
        asked(vllms, shown(), earlier=turns(*words)).json()["prompt_token_ids"]
        for words in ((f"see {marker} here", marker), ("see here", "yes"))
    )
    pad = max(set(plain), key=plain.count)
    assert typed.count(pad) == plain.count(pad) == KEPT
    assert typed[typed.index(pad) :] == plain[plain.index(pad) :]
