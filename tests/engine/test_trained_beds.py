"""The trained test beds under vLLM: they answer as the bare backend does, the wild one with questions read as deep as
they are there."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest

from engines import operated_with, start_engine
from sppruner_vllm.demo.places import LLAVA_MODEL, WILD_MODEL
from sppruner_vllm.demo.world.exam import ExamQuestion, exam
from sppruner_vllm.evaluation.asking import Manner
from sppruner_vllm.evaluation.conditions import FULL, Condition
from sppruner_vllm.evaluation.demo_dataset import demo_questions
from sppruner_vllm.evaluation.engineless import EnginelessAsker

SEED = 1234
NUMBER = 21
"""Of three scenes."""
TOKENS = 5
DEPTH = "0.3"
"""Two of seven layers: where the wild bed has words that its visual tokens resemble."""
MODELS = {"wild": WILD_MODEL, "llava": LLAVA_MODEL}
LEAST = {"wild": 0.8, "llava": 0.4}
"""Share of the questions that a bed answers at least; guessing gets a quarter."""


@pytest.fixture(scope="module", params=MODELS)
def bed(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def llm(bed: str) -> Any:
    return start_engine(MODELS[bed], limit_mm_per_prompt={"image": 2})


@pytest.fixture(scope="module")
def bare(bed: str) -> EnginelessAsker:
    return EnginelessAsker(str(MODELS[bed]), Manner(max_tokens=TOKENS))


@pytest.fixture(scope="module")
def questions() -> list[ExamQuestion]:
    return list(exam(SEED, 3))[:NUMBER]


def served(llm: Any, questions: list[ExamQuestion], **fields: Any) -> list[str]:
    from vllm import SamplingParams

    chats = []
    for question in questions:
        shown = [{"type": "image_pil", "image_pil": picture} for picture in question.pictures()]
        chats.append([{"role": "user", "content": [*shown, {"type": "text", "text": question.asked.text}]}])
    sampling = SamplingParams(max_tokens=TOKENS, temperature=0)
    outputs = llm.chat(chats, sampling, use_tqdm=False, mm_processor_kwargs=fields or None)
    return [output.outputs[0].text for output in outputs]


def right(questions: list[ExamQuestion], answers: list[str]) -> int:
    return sum(question.asked.answer == answer for question, answer in zip(questions, answers, strict=True))


def test_it_is_served_and_sees(llm: Any, bed: str, bare: EnginelessAsker, questions: list[ExamQuestion]) -> None:
    answers = served(llm, questions)
    assert answers == [answer.text for answer in bare.ask(list(demo_questions(NUMBER, SEED)), FULL)]
    assert right(questions, answers) >= LEAST[bed] * len(questions)


@pytest.mark.parametrize("depth", [None, DEPTH])
def test_a_question_steers_as_in_the_bare_backend(
    llm: Any, bare: EnginelessAsker, questions: list[ExamQuestion], depth: str | None
) -> None:
    method = "focus_context" if depth is None else f"focus_context:{depth}"
    expected = bare.ask(list(demo_questions(NUMBER, SEED)), Condition(method, 0.111))
    with nullcontext() if depth is None else operated_with(QUESTION_DEPTH=depth):
        assert served(llm, questions, keep_ratio=0.111) == [answer.text for answer in expected]


def test_it_answers_at_a_small_budget(llm: Any, bed: str, questions: list[ExamQuestion]) -> None:
    assert right(questions, served(llm, questions, keep_ratio=0.222)) >= 0.8 * LEAST[bed] * len(questions)
