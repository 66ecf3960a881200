"""Identity: what shares rows and KV blocks, and what must not."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch

from cases import REDUCED, SQUARE, Case
from engines import TOKENS, Answer, ask, recorded_selections
from reference import Reference

_seeds = itertools.count(70)
QUESTION = "what is the colour of the small cat"


@pytest.fixture
def asked() -> Case:
    """A question about a picture that no other test has shown to the engine."""
    return Case(((QUESTION, (SQUARE,)),), next(_seeds))


def with_question(case: Case, question: str) -> Case:
    return replace(case, turns=((question, (SQUARE,)),))


def test_the_same_request_twice_hits_the_prefix_cache_and_answers_alike(llm: Any, asked: Case) -> None:
    (first,) = ask(llm, [asked], 0.5)
    (again,) = ask(llm, [asked], 0.5)
    assert first.cached == 0
    assert again.cached > 0
    assert again.tokens == first.tokens
    assert torch.allclose(again.logits, first.logits, atol=1e-3)


def test_a_second_ratio_never_reuses_the_first_ones_rows(llm: Any, asked: Case) -> None:
    ask(llm, [asked], 0.5)
    with recorded_selections() as kept:
        (other,) = ask(llm, [asked], 0.25)
    assert other.cached == 0
    assert [len(image) for image in kept] == [36]


def test_another_query_never_reuses_rows(llm: Any, asked: Case) -> None:
    ask(llm, [asked], 0.25)
    with recorded_selections() as anew:
        (other,) = ask(llm, [with_question(asked, "where is the big red house now")], 0.25)
    assert other.cached == 0
    assert len(anew) == 1


def test_a_method_that_ignores_the_query_shares_rows_between_questions(llm: Any, asked: Case) -> None:
    ask(llm, [asked], 0.25, reduction_method="uniform")
    with recorded_selections() as kept:
        ask(llm, [with_question(asked, "where is the big red house now")], 0.25, reduction_method="uniform")
    assert kept == []


def test_a_focus_query_takes_the_place_of_the_turn(llm: Any, asked: Case) -> None:
    ask(llm, [asked], 0.25)
    elsewhere = with_question(asked, "x")
    with recorded_selections() as kept:
        ask(llm, [elsewhere], 0.25, focus_query=QUESTION)
    assert kept == [], "the same image, budget and query share rows, whatever the turn says"
    with recorded_selections() as kept:
        ask(llm, [elsewhere], 0.25)
    assert len(kept) == 1


def test_in_turn_2_the_image_of_turn_1_is_still_cached_and_the_answer_is_right(
    llm: Any, asked: Case, reference: Reference
) -> None:
    with recorded_selections() as kept:
        ask(llm, [asked], 0.5)
    chat = replace(asked, turns=(*asked.turns, ("it is green", ()), ("and the dog", ())))
    with recorded_selections() as anew:
        (second,) = ask(llm, [chat], 0.5)
    assert second.cached >= 64
    assert anew == []
    tokens, _ = reference.answer(chat, kept, TOKENS)
    assert second.tokens == tokens


def test_a_hit_that_ends_inside_an_image_answers_like_the_cold_request(
    llm: Any, reduced: dict[tuple[int, float], tuple[Answer, list[list[int]]]]
) -> None:
    cold, _ = reduced[2, 0.5]
    llm.reset_prefix_cache()
    ask(llm, [REDUCED[2]], 0.5)
    (warm,) = ask(llm, [REDUCED[2]], 0.5)
    assert 0 < warm.cached < warm.prompt
    assert warm.tokens == cold.tokens


def test_mixed_ratios_in_one_batch_answer_like_each_alone(
    llm: Any, reduced: dict[tuple[int, float], tuple[Answer, list[list[int]]]]
) -> None:
    keys = list(reduced)
    llm.reset_prefix_cache()
    answers = ask(llm, [REDUCED[index] for index, _ in keys], [ratio for _, ratio in keys])
    for key, answer in zip(keys, answers, strict=True):
        assert answer.tokens == reduced[key][0].tokens, key
        assert answer.prompt == reduced[key][0].prompt


def test_one_image_twice_in_a_prompt_is_placed_twice(llm: Any, reference: Reference) -> None:
    class Twice(Case):
        def images(self) -> list[Any]:
            return super().images()[:1] * 2

    case = Twice((("are these the same", (SQUARE, SQUARE)),), next(_seeds))
    with recorded_selections() as kept:
        (answer,) = ask(llm, [case], 0.25)
    tokens, _ = reference.answer(case, [kept[0], kept[0]], TOKENS)
    assert answer.tokens == tokens


def test_an_image_sent_by_uuid_alone_is_served_from_the_cache_at_its_ratio(llm: Any, asked: Case) -> None:
    from vllm import SamplingParams

    def prompt(image: Any) -> dict[str, Any]:
        text = "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>what<|im_end|>\n<|im_start|>assistant\n"
        return {
            "prompt": text,
            "multi_modal_data": {"image": [image]},
            "multi_modal_uuids": {"image": ["picture-1"]},
            "mm_processor_kwargs": {"keep_ratio": 0.5},
        }

    sampling = SamplingParams(max_tokens=TOKENS, temperature=0, ignore_eos=True)
    (sent,) = llm.generate(prompt(asked.images()[0]), sampling, use_tqdm=False)
    (named,) = llm.generate(prompt(None), sampling, use_tqdm=False)
    assert named.outputs[0].token_ids == sent.outputs[0].token_ids
