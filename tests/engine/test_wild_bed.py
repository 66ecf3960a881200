"""The wild test bed under vLLM: it answers as the bare backend does, its questions read as deep as they are there."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest

from engines import operated_with, start_engine
from sppruner_vllm.demo.places import WILD_MODEL
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
"""Two of seven layers: where the model has words that its visual tokens resemble."""


@pytest.fixture(scope="module")
def llm() -> Any:
    return start_engine(WILD_MODEL)


@pytest.fixture(scope="module")
def bare() -> EnginelessAsker:
    return EnginelessAsker(str(WILD_MODEL), Manner(max_tokens=TOKENS))


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


def test_it_is_served_and_sees(llm: Any, bare: EnginelessAsker, questions: list[ExamQuestion]) -> None:
    answers = served(llm, questions)
    assert answers == [answer.text for answer in bare.ask(list(demo_questions(NUMBER, SEED)), FULL)]
    right = [question.asked.answer == answer for question, answer in zip(questions, answers, strict=True)]
    assert sum(right) >= 0.8 * len(questions)


@pytest.mark.parametrize("depth", [None, DEPTH])
def test_a_question_steers_as_in_the_bare_backend(
    llm: Any, bare: EnginelessAsker, questions: list[ExamQuestion], depth: str | None
) -> None:
    method = "focus_context" if depth is None else f"focus_context:{depth}"
    expected = bare.ask(list(demo_questions(NUMBER, SEED)), Condition(method, 0.111))
    with nullcontext() if depth is None else operated_with(QUESTION_DEPTH=depth):
        assert served(llm, questions, keep_ratio=0.111) == [answer.text for answer in expected]
