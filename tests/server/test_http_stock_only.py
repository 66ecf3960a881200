"""A model whose architecture no family is for: served as stock, and the answer says so."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import httpx
import pytest

from beds import build_mistral3
from serving import Server, chat_body, data_url, eventually, metric, png, serving

PICTURE = data_url(png(336, 336))


@pytest.fixture(scope="module")
def stock_only(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("mistral3")
    with serving(build_mistral3(folder / "model"), folder / "server.log") as server:
        yield server


@pytest.mark.parametrize(
    ("fields", "reason"),
    [({}, "keep_ratio_is_1"), ({"keep_ratio": 0.25}, "unsupported_input"), ({"keep_tokens": 7}, "unsupported_input")],
)
def test_an_architecture_without_a_family_is_served_whole_and_says_so(
    stock_only: Server, fields: dict[str, object], reason: str
) -> None:
    with httpx.Client(base_url=stock_only.url, timeout=240) as client:
        before = metric(client, "sppruner_skipped_total", reason=reason)
        answer = client.post("/v1/chat/completions", json=chat_body(PICTURE, **fields))
        assert answer.status_code == 200, answer.text
        usage = answer.json()["usage"]
        tokens = usage["prompt_tokens_details"]["visual_tokens"]
        assert tokens["skipped_reason"] == answer.headers["x-sppruner-skipped-reason"] == reason
        assert tokens["original"] == tokens["retained"] == 144 < usage["prompt_tokens"]
        assert metric(client, "sppruner_skipped_total", reason=reason) == before + 1


def test_a_stream_says_so_too(stock_only: Server) -> None:
    body = chat_body(PICTURE, keep_ratio=0.25, stream=True, stream_options={"include_usage": True})
    answer = httpx.post(f"{stock_only.url}/v1/chat/completions", json=body, timeout=240)
    assert '"skipped_reason":"unsupported_input"' in answer.text


def test_a_wrong_field_is_refused_all_the_same(stock_only: Server) -> None:
    answer = httpx.post(f"{stock_only.url}/v1/chat/completions", json=chat_body(PICTURE, keep_ratio=7), timeout=240)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "keep_ratio")


def test_its_log_says_that_nothing_is_dropped(stock_only: Server) -> None:
    assert "no visual tokens are dropped" in stock_only.log.read_text()


def test_it_ends_as_every_server(stock_only: Server) -> None:
    """The last test of this file: it signals the front alone, whose engines obey nobody else."""
    stock_only.process.send_signal(signal.SIGTERM)
    assert stock_only.process.wait(120) == 0
    assert eventually(lambda: not stock_only.living()), stock_only.living()
    assert "EngineCore: trigger received signal" in stock_only.log.read_text(), "its engine heard that it is to end"
