"""The image serves what its README says, through its published port, and loses nothing when it is stopped.

Without an image (SPPRUNER_TEST_IMAGE) the same is asked of its entry point as a process; `make image-test` builds one.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest
from endpoint import ENGINE, HARDENED, IMAGE, Container, started, tool

from serving import eventually, metric
from sppruner_vllm.demo_model.flags import DEMO_NAME
from sppruner_vllm.demo_model.picture import QUESTIONS, picture_url, picture_variant_url

of_an_image = pytest.mark.skipif(not IMAGE, reason="asks about an image; `make image-test` builds one")
USERS = 8


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    with started(tmp_path_factory.mktemp("image") / "server.log") as running:
        yield running


@pytest.fixture(scope="module")
def client(endpoint) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{endpoint.url}/v1", api_key="none", max_retries=0, timeout=300) as made:
        yield made


def messages(question: str, url: str | None = None):
    picture = {"type": "image_url", "image_url": {"url": url or picture_url()}}
    return [{"role": "user", "content": [picture, {"type": "text", "text": question}]}]


def ask(client: openai.OpenAI, question: str, ratio: float = 0.222, url: str | None = None, **fields: object):
    """A greedy chat completion about the demo's picture."""
    asked = messages(question, url)
    usual = {"model": DEMO_NAME, "max_tokens": 16, "temperature": 0, "extra_body": {"keep_ratio": ratio}}
    return client.chat.completions.create(messages=asked, **{**usual, **fields})


def test_it_serves_the_demo_model_without_an_argument(client):
    assert [model.id for model in client.models.list()] == [DEMO_NAME]


@pytest.mark.parametrize("ratio", [1, 0.5, 0.222])
def test_a_chat_is_answered_at_every_ratio(client, ratio):
    for question, answer in QUESTIONS:
        completion = ask(client, question, ratio)
        assert completion.choices[0].message.content.strip() == answer
        tokens = completion.usage.prompt_tokens_details.visual_tokens
        assert tokens["original"] == 256
        assert (tokens["retained"] == 256) == (ratio == 1)


def test_a_stream_says_the_same_piece_by_piece(client):
    question, answer = QUESTIONS[0]
    *pieces, last = ask(client, question, stream=True, stream_options={"include_usage": True})
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices).strip() == answer
    assert last.usage.prompt_tokens_details.visual_tokens["retained"] == 57


def test_the_responses_api_takes_the_field_too(client):
    question, answer = QUESTIONS[0]
    content = [
        {"type": "input_image", "image_url": picture_url(), "detail": "auto"},
        {"type": "input_text", "text": question},
    ]
    asked = [{"role": "user", "content": content}]
    response = client.responses.create(
        model=DEMO_NAME, input=asked, max_output_tokens=16, temperature=0, extra_body={"keep_ratio": 0.222}
    )
    assert response.output_text.strip() == answer
    assert response.usage.input_tokens_details.visual_tokens["retained"] == 57


def test_bad_input_is_refused_by_name(client):
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, QUESTIONS[0][0], ratio=7)
    assert (caught.value.param, caught.value.code) == ("keep_ratio", "invalid_keep_ratio")
    with pytest.raises(openai.NotFoundError):
        ask(client, QUESTIONS[0][0], model="another")


def test_the_metrics_tell_it(client, endpoint):
    with httpx.Client(base_url=endpoint.url, timeout=60) as http:
        before = metric(http, "sppruner_visual_tokens_retained_total")
        ask(client, QUESTIONS[0][0])
        assert eventually(lambda: metric(http, "sppruner_visual_tokens_retained_total") == before + 57)


@of_an_image
def test_it_runs_without_rights(endpoint):
    seen = endpoint.inspect()
    assert seen["HostConfig"]["ReadonlyRootfs"]
    assert seen["Config"]["User"] == "2000:0"
    assert not seen.get("EffectiveCaps")
    assert {"org.opencontainers.image.version", "org.opencontainers.image.licenses"} <= seen["Config"]["Labels"].keys()


def test_a_sigterm_under_load_loses_nothing_that_had_begun(endpoint, client):
    """The last test: it stops the server."""
    told = threading.Event()
    everybody = threading.Barrier(USERS + 1)

    def read(user: int) -> str | None:
        stream = ask(
            client,
            f"user {user}",
            url=picture_variant_url(user),
            stream=True,
            max_tokens=100,  # few enough for a busy machine to give within the 30 s that a server has to stop
            extra_body={"keep_ratio": 0.222, "ignore_eos": True},
        )
        first = next(iter(stream))
        everybody.wait(120)
        assert told.wait(120)
        reasons = [first.choices[0].finish_reason]
        reasons += [piece.choices[0].finish_reason for piece in stream if piece.choices]
        return reasons[-1]

    with ThreadPoolExecutor(USERS) as users:
        endings = [users.submit(read, user) for user in range(USERS)]
        everybody.wait(120)
        endpoint.terminate()
        told.set()
        assert [ending.result() for ending in endings] == ["length"] * USERS
    assert endpoint.wait() == 0, endpoint.log()[-3000:]


@of_an_image
def test_an_arbitrary_user_of_group_0_will_do_and_a_dead_engine_ends_the_container(tmp_path):
    """Not with status 0, so that whatever restarts on failure does."""
    with started(tmp_path / "log", user="1000650000:0") as running, httpx.Client(base_url=running.url) as http:
        assert isinstance(running, Container)
        assert http.get("/health").is_success
        running.signal(signal.SIGKILL, ENGINE)
        assert running.wait() not in {0, 137}
        assert eventually(lambda: not running.inspect()["State"]["Running"])


@of_an_image
def test_the_proof_kit_is_inside():
    assert "--sets" in tool("run", "--rm", *HARDENED, IMAGE, "prove", "--help")


@of_an_image
def test_a_container_that_is_stopped_as_it_starts_ends_by_itself():
    container = Container("2000:0")
    try:
        container.stop()
        assert container.wait() != 137, container.log()[-3000:]
    finally:
        container.remove()
