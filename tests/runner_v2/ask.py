"""Starts one engine on the runner that the environment names, asks it its steps, and writes what it answered.

`python ask.py MODEL ENGINE REPORT [FAULT]`: checkpoint folder, name of an engine of scenarios.py, file to write,
name of a fault of faults.py. Started by runners.py.
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from faults import FAULTS
from outcomes import Answer, Outcome, Report
from scenarios import ENGINES, UNREAD, Engine, Step

from recording import recorded_selections
from sppruner_vllm.request.handed_over import TELLING, Telling
from sppruner_vllm.told import TELL

USUAL: dict[str, Any] = {
    "dtype": "float32",
    "enforce_eager": True,
    "block_size": 32,
    "max_model_len": 2048,
    "max_num_seqs": 8,
    "logprobs_mode": "raw_logits",
    "max_logprobs": -1,
    "disable_log_stats": False,
    "limit_mm_per_prompt": {"image": 2},
    "trust_remote_code": True,
    "seed": 0,
}
"""Of `LLM`: small blocks so that prompts hit the prefix cache, raw logits of the whole vocabulary."""


def schedule_ahead() -> None:
    """Leave asynchronous scheduling on, which `CpuPlatform` turns off (vLLM 0.32, platforms/cpu.py:331)."""
    from vllm.platforms.cpu import CpuPlatform

    upstream = CpuPlatform.check_and_update_config

    def check(config: Any) -> None:
        upstream(config)
        if config.scheduler_config is not None:
            config.scheduler_config.async_scheduling = True

    CpuPlatform.check_and_update_config = staticmethod(check)


def interpreted_kernels() -> set[str]:
    """Names of the Triton kernels that this process interprets from now on; it fills as they run."""
    from triton.runtime.interpreter import InterpretedFunction

    names: set[str] = set()
    upstream = InterpretedFunction.run

    def run(kernel: Any, *args: Any, **kwargs: Any) -> Any:
        names.add(kernel.fn.__name__)
        return upstream(kernel, *args, **kwargs)

    InterpretedFunction.run = run
    return names


def classes(worker: Any) -> dict[str, str]:
    """The modules of the classes at work in a worker: the runner's, the model's, and V2's that places rows."""
    runner = worker.model_runner
    placer = getattr(getattr(runner, "model_state", None), "mm_pruner", None)
    return {
        name: type(part).__module__
        for name, part in (("runner", runner), ("model", runner.get_model()), ("placer", placer))
    }


def preemptions(llm: Any) -> int:
    """Since the engine started."""
    (count,) = [metric.value for metric in llm.get_metrics() if metric.name == "vllm:num_preemptions"]
    return int(count)


def count_encoder_runs(worker: Any) -> None:
    """Let a worker's encoder count its runs from now on."""
    encoder = worker.model_runner.get_model()._encoder
    upstream = encoder._upstream
    encoder.runs = 0

    def counting(**inputs: Any) -> Any:
        encoder.runs += 1
        return upstream(**inputs)

    encoder._upstream = counting


def encoder_runs(worker: Any) -> int:
    """Since they are counted."""
    return int(worker.model_runner.get_model()._encoder.runs)


def operate_with(chosen: Mapping[str, str]) -> None:
    """The operator's settings from here on, in addition to those in the environment that runners.py made."""
    from sppruner_vllm.settings import settings

    for name, value in chosen.items():
        os.environ[f"SPPRUNER_{name}"] = value
    settings.cache_clear()


@contextmanager
def recorded_starts(scheduler: Any) -> Iterator[dict[str, list[int]]]:
    """Of each request that is scheduled inside the block, by its id: how many of its tokens stood before each step."""
    starts: dict[str, list[int]] = defaultdict(list)
    upstream = scheduler.schedule

    def recording(*args: Any, **given: Any) -> Any:
        step = upstream(*args, **given)
        for one in step.scheduled_new_reqs:
            starts[one.req_id].append(one.num_computed_tokens)
        known = step.scheduled_cached_reqs
        for name, computed in zip(known.req_ids, known.num_computed_tokens, strict=True):
            starts[name].append(computed)
        return step

    scheduler.schedule = recording
    try:
        yield starts
    finally:
        del scheduler.schedule


def take(llm: Any, step: Step) -> Outcome:
    """Put the step's requests to the engine as one batch."""
    operate_with(step.settings)
    try:
        return put(llm, step)
    finally:
        for name in step.settings:
            del os.environ[f"SPPRUNER_{name}"]
        operate_with({})


def put(llm: Any, step: Step) -> Outcome:
    from vllm import SamplingParams

    if not step.warm:
        llm.reset_prefix_cache()
    before, runs = preemptions(llm), llm.collective_rpc(encoder_runs)[0]
    sampling = SamplingParams(max_tokens=step.tokens, temperature=0, logprobs=-1, ignore_eos=True)
    asked = [Telling(f"{step.name}, {number}") if step.told else None for number in range(len(step.requests))]
    core = llm.llm_engine.engine_core.engine_core
    with recorded_selections() as kept, recorded_starts(core.scheduler) as starts:
        for request, telling in zip(step.requests, asked, strict=True):
            fields = {**request.fields, **({} if telling is None else {TELLING: telling})}
            llm.enqueue_chat(request.messages(), sampling, use_tqdm=False, mm_processor_kwargs=fields)
        outputs = llm.wait_for_completion(use_tqdm=False)
    names = [
        telling.name_of(place)
        for request, telling in zip(step.requests, asked, strict=True)
        if telling is not None
        for place in range(len(request.pictures))
    ]
    said = llm.collective_rpc(TELL, args=(names,))[0] if names else {}
    # Inside the engine a request's id ends in characters of its own (vLLM 0.32, v1/engine/input_processor.py:371).
    computed = {name.rpartition("-")[0]: places for name, places in starts.items()}
    return Outcome(
        [answer(output, computed[output.request_id]) for output in outputs],
        preemptions(llm) - before,
        core.batch_queue is not None,
        llm.collective_rpc(encoder_runs)[0] - runs,
        [said[name]["kept"] for name in names],
        kept,
    )


def answer(output: Any, starts: list[int]) -> Answer:
    """Args: starts: of all steps that computed tokens of the request."""
    (completion,) = output.outputs
    logits = [[step[token].logprob for token in sorted(step)] for step in completion.logprobs]
    prompt = list(output.prompt_token_ids)
    of_prompt = [start for start in starts if start < len(prompt)]
    return Answer(list(completion.token_ids), prompt, output.num_cached_tokens or 0, logits, of_prompt)


def main(model: str, name: str, report: str, fault: str | None = None) -> None:
    (engine,) = [engine for engine in (*ENGINES, UNREAD) if engine.name == name]
    second = os.environ["VLLM_USE_V2_MODEL_RUNNER"] == "1"
    kernels = interpreted_kernels() if second else set()
    if second and engine.asynchronous:
        schedule_ahead()
    operate_with(engine.settings)
    llm = start(model, engine)
    if fault is not None:
        FAULTS[fault](llm)
    llm.collective_rpc(count_encoder_runs)
    outcomes = {step.name: take(llm, step) for step in engine.steps}
    Report(llm.collective_rpc(classes)[0], sorted(kernels), outcomes).write(Path(report))


def start(model: str, engine: Engine) -> Any:
    from vllm import LLM

    return LLM(model=model, **USUAL | dict(engine.options))


if __name__ == "__main__":
    main(*sys.argv[1:])
