"""Budgets of single pictures, and one for all, in `LLM.chat` and `LLM.generate`: the plugin alone."""

from __future__ import annotations

from typing import Any

import pytest
from vllm import SamplingParams

from cases import SQUARE, picture

FIRST, SECOND = (picture(SQUARE, seed) for seed in (881, 882))
WHOLE = SQUARE[0] * SQUARE[1] // 28**2


def asked(llm: Any, *parts: dict[str, Any], **fields: object) -> Any:
    messages = [{"role": "user", "content": [*parts, {"type": "text", "text": "which of them is the larger one"}]}]
    sampling = SamplingParams(max_tokens=2, temperature=0)
    (output,) = llm.chat(messages, sampling, use_tqdm=False, mm_processor_kwargs=fields)
    return output


def shown(image: Any) -> dict[str, Any]:
    return {"type": "image_pil", "image_pil": image}


def kept(llm: Any, output: Any) -> int:
    return list(output.prompt_token_ids).count(llm.llm_engine.model_config.hf_config.image_token_id)


def test_a_list_of_ratios_goes_where_plain_vllm_takes_the_ratio(llm: Any) -> None:
    output = asked(llm, shown(FIRST), shown(SECOND), keep_ratio=[0.5, 0.125])
    assert kept(llm, output) == WHOLE // 2 + WHOLE // 8


def test_a_list_of_equal_ratios_is_that_ratio_to_the_caches(llm: Any) -> None:
    asked(llm, shown(FIRST), shown(SECOND), keep_ratio=0.375)
    again = asked(llm, shown(FIRST), shown(SECOND), keep_ratio=[0.375, 0.375])
    assert again.num_cached_tokens > 2 * 0.375 * WHOLE - 16


def test_a_total_is_shared_to_the_token(llm: Any) -> None:
    assert kept(llm, asked(llm, shown(FIRST), shown(SECOND), keep_tokens_total=77)) == 77


@pytest.mark.parametrize("parts", [(), (FIRST,), (FIRST, SECOND, FIRST)], ids=len)
def test_a_list_of_another_length_is_a_value_error_with_both(llm: Any, parts: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match=f"keep_ratio has 2 entries, but the request holds {len(parts)} images"):
        asked(llm, *map(shown, parts), keep_ratio=[0.5, 0.5])


def test_a_list_is_counted_against_the_pictures_of_a_prompt_too(llm: Any) -> None:
    prompt = "<|vision_start|><|image_pad|><|vision_end|> what"
    with pytest.raises(ValueError, match="keep_ratio has 2 entries, but the request holds 1 images"):
        llm.generate(
            {"prompt": prompt, "multi_modal_data": {"image": FIRST}, "mm_processor_kwargs": {"keep_ratio": [0.5, 0.5]}},
            use_tqdm=False,
        )


def test_a_ratio_in_a_part_says_where_it_belongs(llm: Any) -> None:
    with pytest.raises(ValueError, match="mm_processor_kwargs a list of keep_ratio"):
        asked(llm, {**shown(FIRST), "keep_ratio": 0.5})


def test_a_list_of_limits_makes_single_pictures_smaller(llm: Any) -> None:
    assert kept(llm, asked(llm, shown(FIRST), shown(SECOND), max_pixels=[None, WHOLE // 4 * 28**2])) == WHOLE * 5 // 4


def test_a_number_goes_to_the_models_own_image_processor(llm: Any) -> None:
    assert kept(llm, asked(llm, shown(FIRST), max_pixels=WHOLE // 4 * 28**2)) == WHOLE // 4


def test_a_ratio_that_fits_is_taken_too(llm: Any) -> None:
    assert kept(llm, asked(llm, shown(FIRST), keep_ratio="auto")) < WHOLE
