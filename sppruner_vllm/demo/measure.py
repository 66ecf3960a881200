"""Asks the running server and reads what each answer cost.

Timed requests each carry the picture with another corner pixel. vLLM keys its processor, encoder and prefix caches
by the image, so every timed request is decoded, encoded and prefilled in full.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final

import httpx
from openai import OpenAI
from openai.types import CompletionUsage
from openai.types.chat import ChatCompletionChunk
from prometheus_client.parser import text_string_to_metric_families

from sppruner_vllm.demo_model.picture import QUESTIONS, picture_url, picture_variant_url

ANSWER_TOKENS: Final = 16
PREFILL_FAMILY: Final = "vllm:request_prefill_kv_computed_tokens"
"""vLLM's histogram of the prompt tokens per request whose keys and values it computed and stored."""
METRICS_LIMIT: Final = 10.0
"""Seconds until a finished request must show in the metrics."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What the questions about the picture cost at one keep ratio, and their answers.

    original, retained: visual tokens before and after reduction. prompt_tokens: as the server counts them.
    kv_tokens: prompt tokens that the engine wrote to its KV cache, from its own metrics.
    ttft_seconds: median time to the first token, client side. answers: to `QUESTIONS`, in their order.
    """

    keep_ratio: float
    original: int
    retained: int
    prompt_tokens: int
    kv_tokens: int
    ttft_seconds: float
    answers: tuple[str, ...]


def measure(url: str, model: str, ratios: Sequence[float], repeats: int) -> list[Cost]:
    """One `Cost` per ratio.

    The ratios take turns within each repeat, so that a slow moment of the machine touches all of them.

    Args:
        url: address of the server, without a path.
        model: name it serves the model under.
        ratios: keep ratios to compare.
        repeats: timed requests per ratio, after one untimed request each.
    """
    # Without retries: a repeated request would be timed twice and hide a failure.
    with OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        costs = [_cost(client, url, model, ratio) for ratio in ratios]
        answers = [tuple(_answer(client, model, ratio, question) for question, _ in QUESTIONS) for ratio in ratios]
        variants = count(1)
        timings: list[list[float]] = [[] for _ in ratios]
        for _ in range(repeats):
            for ratio, seconds in zip(ratios, timings, strict=True):
                seconds.append(_first_token_seconds(client, model, ratio, picture_variant_url(next(variants))))
    return [
        Cost(
            keep_ratio=ratio,
            original=_visual(usage, "original"),
            retained=_visual(usage, "retained"),
            prompt_tokens=usage.prompt_tokens,
            kv_tokens=kv_tokens,
            ttft_seconds=statistics.median(seconds),
            answers=texts,
        )
        for ratio, (usage, kv_tokens), texts, seconds in zip(ratios, costs, answers, timings, strict=True)
    ]


def _ask(
    client: OpenAI, model: str, ratio: float, image: str, question: str, tokens: int = ANSWER_TOKENS
) -> Iterator[ChatCompletionChunk]:
    yield from client.chat.completions.create(
        model=model,
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": image}},
                    {"type": "text", "text": question},
                ],
            }
        ],
        temperature=0,
        max_tokens=tokens,
        stream=True,
        stream_options={"include_usage": True},
        extra_body={"keep_ratio": ratio},
    )


def _answer(client: OpenAI, model: str, ratio: float, question: str) -> str:
    return "".join(map(_text, _ask(client, model, ratio, picture_url(), question))).strip()


def _cost(client: OpenAI, url: str, model: str, ratio: float) -> tuple[CompletionUsage, int]:
    """Usage, and the KV-cache tokens that the prompt took. Nobody else may be using the server."""
    requests, tokens = prefilled(httpx.get(f"{url}/metrics").text)
    chunks = list(_ask(client, model, ratio, picture_url(), QUESTIONS[0][0]))
    usage = next((chunk.usage for chunk in reversed(chunks) if chunk.usage), None)
    if usage is None:
        raise RuntimeError("the server's stream ended without usage")
    deadline = time.monotonic() + METRICS_LIMIT
    while (after := prefilled(httpx.get(f"{url}/metrics").text))[0] == requests:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{PREFILL_FAMILY} did not count the request")
    return usage, after[1] - tokens


def _first_token_seconds(client: OpenAI, model: str, ratio: float, image: str) -> float:
    start = time.perf_counter()
    first = None
    for chunk in _ask(client, model, ratio, image, QUESTIONS[0][0], tokens=2):
        if first is None and _text(chunk):
            first = time.perf_counter() - start
    if first is None:
        raise RuntimeError("the server's stream held no text")
    return first


def _text(chunk: ChatCompletionChunk) -> str:
    return (chunk.choices[0].delta.content or "") if chunk.choices else ""


def _visual(usage: CompletionUsage, field: str) -> int:
    """A count of `usage.prompt_tokens_details.visual_tokens`, which the client's types do not know."""
    details = usage.prompt_tokens_details
    if details is None or not details.model_extra:
        raise RuntimeError("the server's usage does not say how many visual tokens there were")
    value: int = details.model_extra["visual_tokens"][field]
    return value


def prefilled(metrics: str) -> tuple[int, int]:
    """Requests that finished so far and the prompt tokens they wrote to the KV cache, from vLLM's metrics page."""
    totals = {"count": 0, "sum": 0}
    for family in text_string_to_metric_families(metrics):
        for sample in family.samples:
            kind = sample.name.removeprefix(f"{PREFILL_FAMILY}_")
            if kind in totals:
                totals[kind] += int(sample.value)
    return totals["count"], totals["sum"]
