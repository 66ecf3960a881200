"""An engine in a process of its own, stock or ours, that does the tasks it reads and times their parts.

Engine core and worker are in this process too, so that a step is a plain call: what HTTP and vLLM's queues between
processes would add is not in these figures, for stock vLLM and ours alike.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from PIL import Image

from .protocol import Done, Question, Reply, Task

READY: Final = "ready"
BLOCK: Final = 32
"""Tokens of a block of the KV cache."""

_ANSWER = "it is red"
_SYSTEM = "You are a helpful assistant."
"""What the models' chat template says where a chat has no such message."""

_WORDS = "what is in this picture and where are the red blue green shapes"


@dataclass(slots=True)
class _Tally:
    """What adds up over a task, in seconds and counts."""

    processing: float = 0.0
    encoding: float = 0.0
    engine: float = 0.0
    first_steps: float = 0.0
    encoder_runs: int = 0
    steps: int = 0
    kv_tokens: int = 0
    kv_blocks: int = 0
    running: int = 0


class Session:
    """One engine and its stopwatches."""

    def __init__(self, model: str, dtype: str, options: dict[str, Any]) -> None:
        """Args:
        model: folder of the checkpoint. dtype: of weights and activations. options: further ones of `LLM`.
        """
        from vllm import LLM

        usual = {
            "enforce_eager": True,
            "max_model_len": 4096,
            "max_num_batched_tokens": 4096,
            "max_num_seqs": 256,
            "block_size": BLOCK,
            "num_gpu_blocks_override": 512,
            "disable_log_stats": False,
            "limit_mm_per_prompt": {"image": 4, "video": 0},
        }
        self._llm: Any = LLM(model=model, dtype=dtype, **(usual | options))
        core = self._llm.llm_engine.engine_core.engine_core
        self._scheduler = core.scheduler
        self._blocks = self._scheduler.kv_cache_manager.block_pool.get_num_free_blocks()
        self._model = core.model_executor.driver_worker.worker.model_runner.get_model()
        self._tally = _Tally()
        self._started: dict[str, float] = {}
        # vLLM calls modules that it can compile without firing a hook: this one is inside of one.
        self._model.visual.patch_embed.proj.register_forward_pre_hook(self._count_encoder_run)

    def do(self, task: Task) -> Done:
        """Put the task's chats to the engine, `users` at a time."""
        self._tally = _Tally()
        waiting = self._requests(task)
        selection = _selection_seconds()
        with self._timed_encoder():
            began = time.monotonic()
            replies = self._serve(waiting, task)
            seconds = time.monotonic() - began
        selection = _selection_seconds() - selection
        tally = self._tally
        return Done(
            replies=replies,
            seconds=seconds,
            processing=tally.processing,
            encoding=tally.encoding - selection,
            selection=selection,
            engine=tally.engine,
            first_steps=tally.first_steps,
            encoder_runs=tally.encoder_runs,
            steps=tally.steps,
            kv_tokens=tally.kv_tokens,
            kv_blocks=tally.kv_blocks,
            running=tally.running,
        )

    def _serve(self, waiting: list[Callable[[], str]], task: Task) -> list[Reply]:
        engine, replies = self._llm.llm_engine, []
        waiting.reverse()
        for _ in range(min(task.users, len(waiting))):
            self._hand_in(waiting.pop())
        answered = False
        while engine.has_unfinished_requests():
            began = time.monotonic()
            outputs = engine.step()
            took = time.monotonic() - began
            self._tally.engine += took
            self._tally.steps += 1
            if not answered:
                self._tally.first_steps += took
                answered = self._has_answered()
            self._look()
            for output in outputs:
                replies.append(self._reply(output))
                answered = True
                if waiting:
                    self._hand_in(waiting.pop())
        return replies

    def _hand_in(self, request: Callable[[], str]) -> None:
        began = time.monotonic()
        # vLLM adds random letters to the number by which its output goes.
        self._started[request().partition("-")[0]] = began
        self._tally.processing += time.monotonic() - began

    def _reply(self, output: Any) -> Reply:
        now, started = time.monotonic(), self._started.pop(output.request_id)
        return Reply(
            ttft=output.metrics.first_token_ts - started,
            latency=now - started,
            prompt=len(output.prompt_token_ids),
            cached=output.num_cached_tokens or 0,
            answer=len(output.outputs[0].token_ids),
        )

    def _has_answered(self) -> bool:
        return any(request.num_output_tokens for request in self._scheduler.running)

    def _look(self) -> None:
        running, tally = self._scheduler.running, self._tally
        free = self._scheduler.kv_cache_manager.block_pool.get_num_free_blocks()
        tally.running = max(tally.running, len(running))
        tally.kv_blocks = max(tally.kv_blocks, self._blocks - free)
        tally.kv_tokens = max(tally.kv_tokens, sum(request.num_computed_tokens for request in running))

    def _requests(self, task: Task) -> list[Callable[[], str]]:
        """What hands each request in and returns its id; pictures are drawn here, outside of any timing."""
        from vllm import SamplingParams

        def enqueue(messages: list[Any], fields: dict[str, Any]) -> str:
            sampling = SamplingParams(max_tokens=task.tokens, temperature=0, ignore_eos=True)
            (request,) = self._llm.enqueue_chat(messages, sampling, use_tqdm=False, mm_processor_kwargs=fields or None)
            return str(request)

        if task.text_tokens:
            ids = self._llm.get_tokenizer().encode(_WORDS)
            prompt = {"prompt_token_ids": np.random.default_rng(task.seed).choice(ids, task.text_tokens).tolist()}
            sampling = SamplingParams(max_tokens=task.tokens, temperature=0, ignore_eos=True)
            return [lambda: str(self._llm.enqueue(prompt, sampling, use_tqdm=False)[0])]
        chats = [_messages(question) for question in task.questions]
        return [lambda chat=chat: enqueue(chat, task.fields) for chat in chats]  # type: ignore[misc]

    def _count_encoder_run(self, *_: Any) -> None:
        self._tally.encoder_runs += 1

    @contextmanager
    def _timed_encoder(self) -> Iterator[None]:
        """Time what turns pixels into rows; true on a CPU, where a call returns when its work is done."""
        embed = self._model.embed_multimodal

        def timed(*args: Any, **kwargs: Any) -> Any:
            began = time.monotonic()
            try:
                return embed(*args, **kwargs)
            finally:
                self._tally.encoding += time.monotonic() - began

        self._model.embed_multimodal = timed
        try:
            yield
        finally:
            del self._model.embed_multimodal


def _messages(question: Question) -> list[Any]:
    parts: list[dict[str, Any]] = []
    for seed, side in question.pictures:
        noise = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
        parts.append({"type": "image_pil", "image_pil": Image.fromarray(noise)})
    chat: list[Any] = [{"role": "user", "content": [*parts, {"type": "text", "text": question.text}]}]
    if question.lead:
        chat.insert(0, {"role": "system", "content": _SYSTEM + " red" * question.lead})
    if question.then:
        chat += [{"role": "assistant", "content": _ANSWER}, {"role": "user", "content": question.then}]
    return chat


def _selection_seconds() -> float:
    """What the worker says it spent on selections so far; 0 in stock vLLM, which has no such metric."""
    from prometheus_client import REGISTRY

    return sum(
        sample.value
        for family in REGISTRY.collect()
        if family.name == "sppruner_selection_seconds"
        for sample in family.samples
        if sample.name.endswith("_sum")
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("dtype")
    parser.add_argument("options", type=json.loads, help="JSON: options of vLLM's LLM")
    given = parser.parse_args()
    # vLLM and its libraries print: the answers get a pipe of their own.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    session = Session(given.model, given.dtype, given.options)
    print(READY, file=answers)
    for line in sys.stdin:
        print(session.do(Task.from_json(line)).to_json(), file=answers)


if __name__ == "__main__":
    main()
