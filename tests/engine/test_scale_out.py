"""vLLM's own flags for several workers or several engines: what they answer and count is what one process does.

Two engines (data parallel) and two ranks of one (tensor parallel, gloo) are started through our server as a user would.
The demo model is asked, because its answers mean something: a wrong row would show in how sure it is of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

import selection_tap
from engines import start_engine
from serving import chat_body, data_url, eventually, metric, serving
from sppruner_vllm.demo.world.exam import SIZE
from sppruner_vllm.demo_model import CHECKPOINT
from sppruner_vllm.evaluation.demo_dataset import demo_questions
from sppruner_vllm.evaluation.questions import Question

CHAT = "/v1/chat/completions"
HELD_OUT_SEED = 1234
RATIOS = 1, 0.222
VISUAL_TOKENS = (SIZE // 28) ** 2
"""Of one picture, before reduction."""

ROUNDING = 1e-4
"""Log probabilities that differ by less are equal: ranks add up in another order, and batches differ."""


@dataclass(frozen=True, slots=True)
class ParallelServer:
    """flags: of vLLM. env: what its CPU build wants for them. at_once: requests sent at the same time."""

    flags: tuple[str, str]
    env: dict[str, str]
    at_once: int


# A machine with one memory node: without the first variable the CPU build refuses two workers. And one with AVX2 alone:
# what PyTorch 2.13 compiles there lets ids of the other rank through, in stock vLLM 0.32 as well.
ONE_NODE = {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1", "TORCHDYNAMO_DISABLE": "1"}
TENSOR = ParallelServer(("--tensor-parallel-size", "2"), ONE_NODE, at_once=1)
DATA = ParallelServer(("--data-parallel-size", "2"), ONE_NODE, at_once=8)


@dataclass(frozen=True, slots=True)
class Said:
    """prompt: its tokens, after reduction. sure: log probability of each token of the answer."""

    text: str
    prompt: int
    sure: list[float]


@pytest.fixture(scope="module")
def bodies() -> list[dict[str, Any]]:
    """Each question at each ratio; some are about two pictures."""
    return [_body(question, ratio) for ratio in RATIOS for question in demo_questions(28, HELD_OUT_SEED)]


def _body(question: Question, ratio: float) -> dict[str, Any]:
    urls = [data_url(picture.read()) for picture in question.images]
    return chat_body(*urls, text=question.text, keep_ratio=ratio, max_tokens=6, logprobs=True)


@pytest.fixture(scope="module")
def alone(bodies) -> list[Said]:
    """What one engine in one process answers."""
    from vllm import SamplingParams

    llm = start_engine(CHECKPOINT, logprobs_mode="raw_logprobs")
    sampling = SamplingParams(max_tokens=6, temperature=0, logprobs=0)
    for body in bodies:
        kwargs = {"keep_ratio": body["keep_ratio"]}
        llm.enqueue_chat(body["messages"], sampling, use_tqdm=False, mm_processor_kwargs=kwargs)
    said = []
    for output in llm.wait_for_completion(use_tqdm=False):
        (answer,) = output.outputs
        sure = [step[token].logprob for step, token in zip(answer.logprobs, answer.token_ids, strict=True)]
        said.append(Said(answer.text, len(output.prompt_token_ids), sure))
    return said


@pytest.fixture(scope="module", params=[TENSOR, DATA], ids=["tensor", "data"])
def parallel(request: pytest.FixtureRequest) -> ParallelServer:
    return request.param


@pytest.fixture(scope="module")
def selections(parallel: ParallelServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the workers kept, as a tap in each of them saw it."""
    return tmp_path_factory.mktemp("tap") / "selections"


@pytest.fixture(scope="module")
def http(
    parallel: ParallelServer, selections: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    log = tmp_path_factory.mktemp("parallel") / "server.log"
    flags, env = ("--explain", *selection_tap.flags), {**parallel.env, **selection_tap.environment(selections)}
    with (
        serving(CHECKPOINT, log, *parallel.flags, *flags, env=env) as running,
        httpx.Client(base_url=running.url, timeout=120) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def together(http: httpx.Client, parallel: ParallelServer, bodies) -> list[Said]:
    """What the parallel server answers."""

    def ask(body: dict[str, Any]) -> Said:
        answer = http.post(CHAT, json=body).raise_for_status().json()
        (choice,) = answer["choices"]
        sure = [token["logprob"] for token in choice["logprobs"]["content"]]
        return Said(choice["message"]["content"], answer["usage"]["prompt_tokens"], sure)

    with ThreadPoolExecutor(parallel.at_once) as pool:
        return list(pool.map(ask, bodies))


def test_the_answers_are_those_of_one_process(alone, together):
    assert [(said.text, said.prompt) for said in together] == [(said.text, said.prompt) for said in alone]


def test_it_is_as_sure_of_them_as_one_process(alone, together):
    for theirs, ours in zip(alone, together, strict=True):
        assert ours.sure == pytest.approx(theirs.sure, abs=ROUNDING, rel=0)


def test_other_rows_would_have_shown(alone):
    """Guards the comparison: with other visual tokens the same model is less or more sure of the same words."""
    half = len(alone) // 2
    pairs = zip(alone[:half], alone[half:], strict=True)
    told = [whole.text != reduced.text or _gap(whole, reduced) > 5 * ROUNDING for whole, reduced in pairs]
    assert sum(told) >= 5


def _gap(one: Said, other: Said) -> float:
    return max(abs(a - b) for a, b in zip(one.sure, other.sure, strict=True))


def test_visual_tokens_are_counted_once(http, alone, together, bodies):
    pictures = sum(len(body["messages"][0]["content"]) - 1 for body in bodies)
    half = len(alone) // 2
    saved = sum(said.prompt for said in alone[:half]) - sum(said.prompt for said in alone[half:])
    assert saved > 0
    original = VISUAL_TOKENS * pictures
    assert eventually(lambda: metric(http, "sppruner_requests_total") == len(bodies))  # counted behind their last byte
    assert metric(http, "sppruner_visual_tokens_original_total") == original
    assert metric(http, "sppruner_visual_tokens_retained_total") == original - saved
    assert metric(http, "sppruner_kv_tokens_saved_total") == saved
    assert metric(http, "sppruner_requests_total", outcome="success") == len(bodies)


def test_a_selection_is_counted_once_whatever_the_number_of_workers(http, parallel, together, bodies):
    reduced = bodies[len(bodies) // 2 :]
    selections = metric(http, "sppruner_selection_seconds_count")
    if parallel.at_once == 1:  # one after the other: each was selected for by itself
        assert selections == len(reduced)
    else:  # requests that wait together share one, and the pictures of one request may fall to two steps
        assert 2 <= selections <= sum(len(body["messages"][0]["content"]) - 1 for body in reduced)


def test_every_engine_has_answered(http, parallel, together, bodies):
    engines = "01" if parallel is DATA else "0"

    def finished() -> list[float]:
        return [metric(http, "vllm:request_success_total", engine=engine) for engine in engines]

    assert eventually(lambda: sum(finished()) == len(bodies)), finished()
    assert all(finished())


def test_what_is_told_is_what_every_rank_kept(http, parallel, selections, together, bodies):
    ranks = 2 if parallel is TENSOR else 1
    for scope in ("question", "image"):
        for body in (bodies[len(bodies) // 2], bodies[-1]):
            with selection_tap.tapped(selections) as kept:
                answer = http.post("/v1/visual-tokens", json={**body, "focus_scope": scope}).raise_for_status().json()
            told = [picture["kept"] for picture in answer["pictures"]]
            assert sorted(told * ranks) == sorted(kept)
