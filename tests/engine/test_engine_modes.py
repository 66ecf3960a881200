"""The same answers when the engine works otherwise: chunks, preemption, compilation, no processor cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cases import REDUCED
from engines import TOKENS, Reduced, ask, start_engine


def answers_alike(llm: Any, reduced: Reduced, at_once: bool = True, tokens: int = TOKENS) -> None:
    keys = list(reduced)
    batches = [keys] if at_once else [[key] for key in keys]
    for batch in batches:
        got = ask(llm, [REDUCED[index] for index, _ in batch], [ratio for _, ratio in batch], tokens)
        for key, answer in zip(batch, got, strict=True):
            assert answer.tokens[:TOKENS] == reduced[key][0].tokens, key


def test_chunks_that_cut_an_image_in_two_change_nothing(chunked: Any, reduced: Reduced) -> None:
    assert max(reduced[key][0].prompt for key in reduced) > 3 * 48
    answers_alike(chunked, reduced, at_once=False)
    answers_alike(chunked, reduced)


def test_preemption_changes_nothing(tiny_model: Path, reduced: Reduced) -> None:
    llm = start_engine(
        tiny_model,
        num_gpu_blocks_override=20,
        max_model_len=512,
        max_num_batched_tokens=512,
        enable_prefix_caching=False,
    )
    answers_alike(llm, reduced, tokens=64)
    (preemptions,) = [metric.value for metric in llm.get_metrics() if metric.name == "vllm:num_preemptions"]
    assert preemptions > 0


def test_compilation_and_no_processor_cache_change_nothing(compiled: Any, reduced: Reduced) -> None:
    answers_alike(compiled, reduced)
