"""Every switch of the operator, on: stock at ratio 1, transformers on the same rows below it, however the engine works.

With all switches off test_stock_parity.py, test_reference.py and test_engine_modes.py ask the same. What an engine is
started with is on or off by engine: `chunked` keeps no rows, `compiled` has the throughput guard, `llm` neither.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from torch import Tensor

from cases import MIXED, STOCK
from engines import TOKENS, Answer, ask, operated_with, recorded_rows, same_answer
from recording import recorded_selections
from reference import OnRows
from switches import SWITCHES

RATIO: Final = 0.222
RATIOS: Final = [RATIO, 0.5]


@pytest.fixture(scope="module", params=SWITCHES.values(), ids=SWITCHES.keys())
def switch(request: pytest.FixtureRequest) -> Iterator[None]:
    """The engines that run plan by it from here on."""
    with operated_with(**request.param):
        yield


@pytest.fixture(scope="module")
def alone(llm: Any, model: Any, switch: None) -> list[tuple[Answer, list[list[int]], list[Tensor]]]:
    """Each case, asked alone: its answer, what each image keeps, and the rows that it keeps them of."""
    llm.reset_prefix_cache()
    found = []
    for case in MIXED:
        model.forget_rows()
        with recorded_selections() as kept, recorded_rows(model) as rows:
            (answer,) = ask(llm, [case], RATIO)
        found.append((answer, kept, rows))
    return found


def test_a_ratio_of_1_is_stock_vllm_to_the_token(llm: Any, stock: list[dict[str, Any]], switch: None) -> None:
    llm.reset_prefix_cache()
    answers = ask(llm, list(STOCK), 1.0)
    assert [answer.prompt for answer in answers] == [answer["prompt"] for answer in stock[:-1]]
    assert [answer.tokens for answer in answers] == [answer["tokens"] for answer in stock[:-1]]


@pytest.fixture(scope="module")
def on_rows(tiny_model: Path) -> OnRows:
    return OnRows(tiny_model)


def test_a_reduced_prompt_answers_like_transformers_on_its_rows(
    alone: list[tuple[Answer, list[list[int]], list[Tensor]]], on_rows: OnRows
) -> None:
    for case, (answer, kept, rows) in zip(MIXED, alone, strict=True):
        on_rows.rows = rows
        tokens, logits = on_rows.answer(case, kept, TOKENS)
        same_answer(answer, tokens, logits)


@pytest.mark.parametrize("engine", ["llm", "chunked", "compiled"])
def test_company_chunks_and_compilation_change_nothing(
    request: pytest.FixtureRequest, alone: list[tuple[Answer, list[list[int]], list[Tensor]]], engine: str
) -> None:
    llm = request.getfixturevalue(engine)
    llm.reset_prefix_cache()
    ratios = [ratio for _ in MIXED for ratio in RATIOS]
    together = ask(llm, [case for case in MIXED for _ in RATIOS], ratios)[:: len(RATIOS)]
    for (expected, _, _), answer in zip(alone, together, strict=True):
        assert answer.prompt_ids == expected.prompt_ids
        assert answer.tokens == expected.tokens
