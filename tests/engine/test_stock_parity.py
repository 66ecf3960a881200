"""Keep ratio 1 with the plugin against stock vLLM without it."""

from __future__ import annotations

from typing import Any

import pytest

from cases import STOCK
from engines import ask, ask_about_video


def test_stock_ran_without_the_plugin(stock: list[dict[str, Any]]) -> None:
    assert {answer["model_class"] for answer in stock} == {"vllm.model_executor.models.qwen2_5_vl"}


@pytest.mark.parametrize("ratio", [None, 1, 1.0])
def test_a_ratio_of_1_is_stock_vllm_to_the_token(llm: Any, stock: list[dict[str, Any]], ratio: float | None) -> None:
    llm.reset_prefix_cache()
    answers = ask(llm, list(STOCK), ratio)
    assert [answer.prompt for answer in answers] == [answer["prompt"] for answer in stock[:-1]]
    assert [answer.tokens for answer in answers] == [answer["tokens"] for answer in stock[:-1]]


def test_a_video_beside_pictures_is_stock_vllm_to_the_token(llm: Any, stock: list[dict[str, Any]]) -> None:
    assert ask_about_video(llm, 1.0).tokens == stock[-1]["tokens"]


def test_a_video_is_reduced_like_the_pictures_beside_it(llm: Any, stock: list[dict[str, Any]]) -> None:
    answer = ask_about_video(llm, 0.5)
    assert stock[-1]["prompt"] - answer.prompt == (144 + 128 + 40) // 2


def test_the_plugins_model_ran_on_our_side(llm: Any) -> None:
    assert llm.apply_model(lambda model: type(model).__module__) == ["sppruner_vllm.families.qwen2_5_vl"]
