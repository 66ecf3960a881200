"""vLLM engines inside the test process, and what a test wants to know of an answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cases import PORTRAIT, SQUARE, Case, picture
from sppruner_vllm.settings import settings
from sppruner_vllm.wire import Order, StageOrder, encode

TOKENS = 8

_ALIVE: list[Any] = []


def keep_alive(engine: Any) -> Any:
    """An engine that is collected takes vLLM's process-wide groups with it, under the feet of the others."""
    _ALIVE.append(engine)
    return engine


@dataclass(frozen=True)
class Answer:
    """prompt_ids: of the reduced prompt. cached: how many came from the prefix cache. logits: (tokens, V) float32."""

    tokens: list[int]
    prompt_ids: list[int]
    cached: int
    logits: Tensor

    @property
    def prompt(self) -> int:
        return len(self.prompt_ids)


def same_answer(answer: Answer, tokens: list[int], logits: Tensor, tolerance: float = 2e-3) -> None:
    """Assert that an answer is another's, as far as numbers allow.

    Sums in another order, as on another processor, may turn the order of two logits that are as good as equal. Behind
    such a tie both go on differently and nothing can be compared; up to it everything is.

    Args:
        tokens: of the other answer. logits: (tokens, V). tolerance: of a logit.
    """
    assert len(answer.tokens) == len(tokens)
    pairs = zip(answer.tokens, tokens, strict=True)
    parted = next((step for step, (one, other) in enumerate(pairs) if one != other), None)
    compared = slice(None if parted is None else parted + 1)
    assert (answer.logits[compared] - logits[compared]).abs().max() < tolerance
    if parted is not None:
        assert abs(logits[parted, answer.tokens[parted]] - logits[parted, tokens[parted]]) < tolerance


def cached(answers: Sequence[Answer]) -> int:
    """Tokens of the only answer's prompt that came from the prefix cache."""
    (answer,) = answers
    return answer.cached


Reduced = dict[tuple[int, float], tuple[Answer, list[list[int]]]]
"""Answers and kept indices per image, by reduced case and ratio."""


def start_engine(model: Path, started_with: Mapping[str, str] | None = None, **options: Any) -> Any:
    """An `LLM` on the tiny model, engine core and worker in this process; `options` override the usual ones.

    Args:
        started_with: further settings of the operator that the engine reads as it starts, by name in capitals.
    """
    from vllm import LLM

    usual: dict[str, Any] = {
        "enforce_eager": True,
        "max_model_len": 4096,
        "block_size": 32,
        # 16,384 tokens: engines live on together, and each would take a GiB otherwise.
        "num_gpu_blocks_override": 512,
        "dtype": "float32",
        "logprobs_mode": "raw_logits",
        "max_logprobs": -1,
        "disable_log_stats": False,
        "limit_mm_per_prompt": {"image": 4, "video": 2},
        "enable_mm_embeds": True,
        # One bed brings its configuration as code.
        "trust_remote_code": True,
        "seed": 0,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        patch.setenv("SPPRUNER_ALLOW_METHOD", "1")
        # Of a model so small hardly any reduction pays.
        patch.setenv("SPPRUNER_THROUGHPUT_GUARD", "0")
        with pytest.MonkeyPatch.context() as own:
            for name, value in (started_with or {}).items():
                own.setenv(f"SPPRUNER_{name}", value)
            settings.cache_clear()  # an earlier test may have read them
            settings()
            llm = keep_alive(LLM(model=str(model), **(usual | options)))
        settings.cache_clear()
        settings()
        return llm


@contextmanager
def operated_with(**chosen: str) -> Iterator[None]:
    """Further settings of the operator, by name in capitals, for all engines of this process inside the block."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPPRUNER_ALLOW_METHOD", "1")
        settings.cache_clear()
        usual = settings()
        for name, value in chosen.items():
            patch.setenv(f"SPPRUNER_{name}", value)
        settings.cache_clear()
        assert settings() != usual
        yield
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPPRUNER_ALLOW_METHOD", "1")
        settings.cache_clear()
        assert settings() == usual


def ask(
    llm: Any, cases: list[Case], ratio: float | list[float] | None = None, tokens: int = TOKENS, **fields: Any
) -> list[Answer]:
    """Put conversations to an engine as one batch; a list of ratios gives each its own."""
    from vllm import SamplingParams

    ratios = ratio if isinstance(ratio, list) else [ratio] * len(cases)
    sampling = SamplingParams(max_tokens=tokens, temperature=0, logprobs=-1, ignore_eos=True)
    for case, one in zip(cases, ratios, strict=True):
        kwargs = fields if one is None else {"keep_ratio": one, **fields}
        llm.enqueue_chat(case.messages(), sampling, use_tqdm=False, mm_processor_kwargs=kwargs or None)
    return [answer_of(output) for output in llm.wait_for_completion(use_tqdm=False)]


def with_video(video: tuple[int, int], ratio: float | list[float] | None, seed: int) -> dict[str, Any]:
    """A prompt with a picture, a video of four frames and a second picture.

    Args:
        video: size of its frames. seed: of the first picture, the second has the next.
    """
    frames = np.stack([np.asarray(picture(video, 900 + number)) for number in range(4)])
    known = {
        "fps": 2.0,
        "duration": 2.0,
        "total_num_frames": 4,
        "frames_indices": [0, 1, 2, 3],
        "video_backend": "opencv",
        "do_sample_frames": False,
    }
    pad = "<|vision_start|><|{}_pad|><|vision_end|>"
    request: dict[str, Any] = {
        "prompt": f"<|im_start|>user\n{pad.format('image')}{pad.format('video')} then {pad.format('image')} what"
        "<|im_end|>\n<|im_start|>assistant\n",
        "multi_modal_data": {
            "image": [picture(SQUARE, seed), picture(PORTRAIT, seed + 1)],
            "video": [(frames, known)],
        },
    }
    if ratio is not None:
        request["mm_processor_kwargs"] = {"keep_ratio": ratio}
    return request


def ask_about_video(llm: Any, ratio: float | None = None) -> Answer:
    """One prompt with a picture, a video of four frames and a second picture."""
    from vllm import SamplingParams

    sampling = SamplingParams(max_tokens=TOKENS, temperature=0, logprobs=-1, ignore_eos=True)
    (output,) = llm.generate(with_video((112, 140), ratio, 910), sampling, use_tqdm=False)
    return answer_of(output)


def answer_of(output: Any) -> Answer:
    """Of one request, as vLLM puts it out with all logits."""
    completion = output.outputs[0]
    rows = [[step[token].logprob for token in sorted(step)] for step in completion.logprobs]
    return Answer(
        list(completion.token_ids), list(output.prompt_token_ids), output.num_cached_tokens or 0, torch.tensor(rows)
    )


def orders(
    tokens: Sequence[int], keep: Sequence[int], queries: Sequence[Tensor], method: str = "focus_context"
) -> dict[str, Any]:
    """The fields by which the worker keeps so many rows of images of so many tokens."""
    return dict(
        encode(
            [
                Order(size, budget, (StageOrder("rows", method, budget),), query)
                for size, budget, query in zip(tokens, keep, queries, strict=True)
            ]
        )
    )


@contextmanager
def encoder_runs(model: Any) -> Iterator[list[int]]:
    """Pictures in each run of upstream's encoder inside the block, in order."""
    runs: list[int] = []
    encode = model._encoder._upstream

    def counting(**inputs: Any) -> Any:
        rows = list(encode(**inputs))
        runs.append(len(rows))
        return rows

    model._encoder._upstream = counting
    try:
        yield runs
    finally:
        model._encoder._upstream = encode


@contextmanager
def recorded_rows(model: Any) -> Iterator[list[Tensor]]:
    """The rows of every picture that a model encodes inside the block, in order."""
    rows: list[Tensor] = []
    run = model._encoder.run

    def recording(*args: Any, **kwargs: Any) -> Iterator[Any]:
        for part in run(*args, **kwargs):
            rows.extend(image.clone() for image in part.rows)
            yield part

    model._encoder.run = recording
    try:
        yield rows
    finally:
        del model._encoder.run
