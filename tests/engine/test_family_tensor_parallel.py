"""Two ranks of each family's tiny model, started through our server as a user would, answer what one process does."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from beds import Bed
from cases import LANDSCAPE, PORTRAIT, SQUARE, Case
from engines import TOKENS, ask, start_engine
from serving import chat_body, data_url, metric, serving

CHAT = "/v1/chat/completions"
CASES = (
    Case((("what is the colour of the cat", (SQUARE,)),), 201),
    Case((("which picture shows more trees", (PORTRAIT, LANDSCAPE)),), 202),
    Case((("how many", (SQUARE, SQUARE)),), 203),
)
TWO_RANKS = ("--tensor-parallel-size", "2")

# A machine with one memory node: without the first variable the CPU build refuses two workers.
ONE_NODE = {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1"}

ROUNDING = 1e-4
"""Log probabilities that differ by less are equal: ranks add up in another order."""


@dataclass(frozen=True, slots=True)
class Said:
    """prompt: its tokens, after reduction. sure: log probability of each token of the answer."""

    text: str
    prompt: int
    sure: list[float]


@pytest.fixture(scope="module")
def asked(family: Bed) -> list[tuple[Case, float]]:
    return [(case, ratio) for ratio in (1.0, family.ratios[1]) for case in CASES]


@pytest.fixture(scope="module")
def alone(family: Bed, family_model: Path, asked: list[tuple[Case, float]]) -> list[Said]:
    """What one engine in one process answers."""
    llm = start_engine(family_model, limit_mm_per_prompt=dict(family.limits))
    said = []
    for case, ratio in asked:
        (answer,) = ask(llm, [case], ratio)
        sure = answer.logits.log_softmax(-1)[torch.arange(TOKENS), torch.tensor(answer.tokens)]
        said.append(Said(llm.get_tokenizer().decode(answer.tokens), answer.prompt, sure.tolist()))
    return said


@pytest.fixture(scope="module")
def http(family: Bed, family_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    log = tmp_path_factory.mktemp("ranks") / "server.log"
    with (
        serving(family_model, log, *TWO_RANKS, env=ONE_NODE) as running,
        httpx.Client(base_url=running.url, timeout=120) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def together(http: httpx.Client, asked: list[tuple[Case, float]]) -> list[Said]:
    """What the two ranks answer."""

    def ask_over_http(case: Case, ratio: float) -> Said:
        answer = http.post(CHAT, json=_body(case, ratio)).raise_for_status().json()
        (choice,) = answer["choices"]
        sure = [token["logprob"] for token in choice["logprobs"]["content"]]
        return Said(choice["message"]["content"], answer["usage"]["prompt_tokens"], sure)

    return [ask_over_http(case, ratio) for case, ratio in asked]


def _body(case: Case, ratio: float) -> dict[str, Any]:
    urls = []
    for image in case.images():
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        urls.append(data_url(buffer.getvalue()))
    ((text, _),) = case.turns
    return chat_body(*urls, text=text, keep_ratio=ratio, max_tokens=TOKENS, logprobs=True, ignore_eos=True)


def test_two_ranks_answer_like_one_process(alone: list[Said], together: list[Said]) -> None:
    assert [(said.text.strip(), said.prompt) for said in together] == [
        (said.text.strip(), said.prompt) for said in alone
    ]


def test_they_are_as_sure_of_it(alone: list[Said], together: list[Said]) -> None:
    for theirs, ours in zip(alone, together, strict=True):
        assert ours.sure == pytest.approx(theirs.sure, abs=ROUNDING, rel=0)


def test_other_rows_would_have_shown(alone: list[Said]) -> None:
    """Guards the comparison: with fewer visual tokens the same model says something else."""
    whole, reduced = alone[: len(CASES)], alone[len(CASES) :]
    assert all(one.text != other.text for one, other in zip(whole, reduced, strict=True))


def test_visual_tokens_are_counted_once(
    family: Bed, http: httpx.Client, together: list[Said], asked: list[tuple[Case, float]]
) -> None:
    sizes = [size for case, _ in asked for _, pictures in case.turns for size in pictures]
    saved = sum(said.prompt for said in together[: len(CASES)]) - sum(said.prompt for said in together[len(CASES) :])
    assert saved > 0
    assert metric(http, "sppruner_visual_tokens_original_total") == sum(map(family.tokens, sizes))
    assert metric(http, "sppruner_kv_tokens_saved_total") == saved
