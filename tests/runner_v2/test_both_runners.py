"""vLLM's model runners V1 and V2, asked the same; V2 on a CPU, its Triton kernels interpreted."""

from __future__ import annotations

from models import MODELS, Model
from outcomes import FACTS, differences
from runners import V1, Reporter, Runner
from scenarios import SHORT, Engine, Step


def test_each_process_ran_the_runner_it_was_meant_to(
    report: Reporter, second_runner: Runner, model: Model, engine: Engine
) -> None:
    for runner in (V1, second_runner):
        assert report(runner, model, engine).classes["runner"] == runner.module


def test_the_plugin_placed_the_rows_on_runner_v2(
    report: Reporter, second_runner: Runner, model: Model, engine: Engine
) -> None:
    classes = report(second_runner, model, engine).classes
    assert classes["model"].startswith("sppruner_vllm.")
    assert classes["placer"].startswith("sppruner_vllm.")


def test_both_runners_give_the_same_answers(
    report: Reporter, second_runner: Runner, model: Model, engine: Engine, step: Step
) -> None:
    first, second = (report(runner, model, engine).outcomes[step.name] for runner in (V1, second_runner))
    assert differences(first, second) == []


def test_a_step_on_runner_v2_is_what_its_name_says(
    report: Reporter, second_runner: Runner, model: Model, engine: Engine, step: Step, fact: str
) -> None:
    assert FACTS[fact](report(second_runner, model, engine).outcomes[step.name])


def test_triton_kernels_prepared_the_positions_on_runner_v2(report: Reporter, second_runner: Runner) -> None:
    kernels = report(second_runner, MODELS[0], SHORT).kernels
    assert {"_apply_write_kernel", "_prepare_rope_positions_kernel"} <= set(kernels)
