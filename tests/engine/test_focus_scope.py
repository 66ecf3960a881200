"""What questions about one picture share under each `focus_scope`, in the engine's prefix cache."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from cases import SQUARE, Case
from engines import Answer, ask
from recording import recorded_selections

CAT, DOG, SEA = "what is the colour of the small cat", "where is the big dog", "how many trees are by the sea"
RATIO, KEPT = 0.5, 72

_seeds = itertools.count(500)


@pytest.fixture
def seed() -> int:
    """Of a picture that no other test has shown to the engine."""
    return next(_seeds)


def asking(seed: int, *turns: str) -> Case:
    """A conversation about one picture."""
    return Case(tuple((text, () if number else (SQUARE,)) for number, text in enumerate(turns)), seed)


def one(llm: Any, case: Case, scope: str, **fields: Any) -> tuple[Answer, list[list[int]]]:
    """An answer, and what was selected for it anew."""
    with recorded_selections() as kept:
        (answer,) = ask(llm, [case], RATIO, focus_scope=scope, **fields)
    return answer, kept


def covers_the_picture(llm: Any, answer: Answer) -> bool:
    """Whether the prefix cache had all but the last, partly filled block of it."""
    image = llm.get_tokenizer().convert_tokens_to_ids("<|image_pad|>")
    block = 32
    end = len(answer.prompt_ids) - answer.prompt_ids[::-1].index(image)
    return answer.prompt_ids.count(image) >= KEPT and answer.cached >= end // block * block > 0


def test_under_question_another_question_finds_nothing(llm: Any, seed: int) -> None:
    one(llm, asking(seed, CAT), "question")
    other, anew = one(llm, asking(seed, DOG), "question")
    assert (other.cached, len(anew)) == (0, 1)


def test_under_image_another_question_finds_the_picture(llm: Any, seed: int) -> None:
    _, first = one(llm, asking(seed, CAT), "image")
    other, anew = one(llm, asking(seed, DOG), "image")
    assert covers_the_picture(llm, other)
    assert (len(first), anew) == (1, [])


def test_the_selection_that_all_questions_share_is_the_one_of_no_question(llm: Any, seed: int) -> None:
    one(llm, asking(seed, CAT), "question", focus_query="")
    other, anew = one(llm, asking(seed, DOG), "image")
    assert covers_the_picture(llm, other)
    assert anew == []


def test_under_auto_the_first_question_steers_and_the_third_finds_the_second_ones_picture(llm: Any, seed: int) -> None:
    first, aware = one(llm, asking(seed, CAT), "auto")
    second, blind = one(llm, asking(seed, DOG), "auto")
    third, anew = one(llm, asking(seed, SEA), "auto")
    assert (first.cached, second.cached, len(aware), len(blind)) == (0, 0, 1, 1)
    assert covers_the_picture(llm, third)
    assert anew == []


def test_under_auto_each_conversation_goes_on_with_what_it_has(llm: Any, seed: int) -> None:
    one(llm, asking(seed, CAT), "auto")
    one(llm, asking(seed, DOG), "auto")
    for question in (CAT, DOG):
        later, anew = one(llm, asking(seed, question, "it is green", SEA), "auto")
        assert covers_the_picture(llm, later)
        assert anew == []


def test_under_auto_a_batch_of_questions_shares_from_the_second_on(llm: Any, seed: int) -> None:
    questions = [asking(seed, question) for question in (CAT, DOG, SEA)]
    with recorded_selections() as kept:
        ask(llm, questions, RATIO, focus_scope="auto")
    assert len(kept) == 2


def test_under_auto_a_text_of_the_clients_own_steers_whatever_was_asked_before(llm: Any, seed: int) -> None:
    one(llm, asking(seed, CAT), "auto")
    one(llm, asking(seed, DOG), "auto")
    steered, anew = one(llm, asking(seed, DOG), "auto", focus_query=SEA)
    assert (steered.cached, len(anew)) == (0, 1)
