"""Identity: what shares rows and KV blocks, and what must not."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch
from vllm import SamplingParams
from vllm.exceptions import VLLMValidationError

from cases import REDUCED, SQUARE, Case
from engines import TOKENS, Reduced, ask, same_answer
from recording import recorded_selections
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


def test_another_query_never_reuses_what_was_selected(llm: Any, asked: Case) -> None:
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


def test_a_hit_that_ends_inside_an_image_answers_like_the_cold_request(llm: Any, reduced: Reduced) -> None:
    cold, _ = reduced[2, 0.5]
    llm.reset_prefix_cache()
    ask(llm, [REDUCED[2]], 0.5)
    (warm,) = ask(llm, [REDUCED[2]], 0.5)
    image = llm.get_tokenizer().convert_tokens_to_ids("<|image_pad|>")
    assert warm.prompt_ids[warm.cached - 1 : warm.cached + 1] == [image, image]
    assert warm.tokens == cold.tokens


def test_mixed_ratios_in_one_batch_answer_like_each_alone(llm: Any, reduced: Reduced) -> None:
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
    tokens, logits = reference.answer(case, [kept[0], kept[0]], TOKENS)
    same_answer(answer, tokens, logits)


def raw_prompt(image: Any, ratio: float, question: str = "what", uuid: str | None = None) -> dict[str, Any]:
    """A prompt for `LLM.generate` with one image, or what stands for it."""
    text = f"<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>{question}<|im_end|>\n<|im_start|>assistant\n"
    prompt: dict[str, Any] = {"prompt": text, "mm_processor_kwargs": {"keep_ratio": ratio}}
    prompt["multi_modal_data"] = {"image": image if isinstance(image, dict) else [image]}
    return prompt if uuid is None else prompt | {"multi_modal_uuids": {"image": [uuid]}}


def generate(llm: Any, prompt: dict[str, Any]) -> Any:
    sampling = SamplingParams(max_tokens=TOKENS, temperature=0, ignore_eos=True)
    (output,) = llm.generate(prompt, sampling, use_tqdm=False)
    return output


def test_an_image_sent_by_uuid_alone_is_served_from_the_cache_at_its_ratio(llm: Any, asked: Case) -> None:
    sent = generate(llm, raw_prompt(asked.images()[0], 0.5, uuid="picture-1"))
    named = generate(llm, raw_prompt(None, 0.5, uuid="picture-1"))
    assert named.outputs[0].token_ids == sent.outputs[0].token_ids


@pytest.mark.parametrize(("ratio", "question"), [(0.25, "what"), (0.5, "who")])
def test_an_image_sent_by_uuid_alone_under_another_plan_is_refused(
    llm: Any, asked: Case, ratio: float, question: str
) -> None:
    generate(llm, raw_prompt(asked.images()[0], 0.5, uuid="picture-2"))
    with pytest.raises(VLLMValidationError, match="uuid only") as refusal:
        generate(llm, raw_prompt(None, ratio, question, uuid="picture-2"))
    assert refusal.value.parameter == "uuid"


def test_an_image_given_as_embeddings_is_reduced_like_its_picture(
    llm: Any, model: Any, asked: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[torch.Tensor] = []
    encode = model._encoder._upstream

    def watching(**inputs: Any) -> Any:
        rows = encode(**inputs)
        encoded.append(rows[0].clone())
        return rows

    monkeypatch.setattr(model._encoder, "_upstream", watching)
    picture = generate(llm, raw_prompt(asked.images()[0], 0.25))
    embeddings = {"image_embeds": encoded[0], "image_grid_thw": torch.tensor([[1, 24, 24]])}
    given = generate(llm, raw_prompt(embeddings, 0.25))
    assert len(given.prompt_token_ids) == len(picture.prompt_token_ids)
    assert given.outputs[0].token_ids == picture.outputs[0].token_ids
