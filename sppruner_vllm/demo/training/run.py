"""Runs a stage: progress, checkpoints, resume."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sppruner_vllm.demo.arithmetic import fast_dtype

from .optimiser import Optimiser
from .stages import Stage, hold_named_directions
from .student import Student

SEED: Final = 1
SAVE_EVERY: Final = 100
SAVE_SECONDS: Final = 120.0
"""A checkpoint is written after so many steps or seconds, whichever comes first."""
SAY_EVERY: Final = 50


def _never() -> bool:
    return False


def train(
    stage: Stage[Any],
    folder: Path,
    steps: int | None = None,
    until: int | None = None,
    stopped: Callable[[], bool] = _never,
) -> dict[str, float]:
    """Run a stage from its last checkpoint, where there is one, in the number type that this processor is made for.

    Args:
        stage: what to train.
        folder: where checkpoints of all stages are kept, one file each.
        steps: length of the stage; None takes the stage's own.
        until: stop after this step with a checkpoint; None runs to the end.
        stopped: asked after every step; True stops with a checkpoint.

    Returns:
        Running averages of the losses and scores at the last step.
    """
    steps = stage.steps if steps is None else steps
    file = folder / f"{stage.name}.pt"
    folder.mkdir(parents=True, exist_ok=True)
    student = stage.student(SEED)
    _gather(student, folder, stage)
    learning = stage.parameters(student)
    for module in student.parts().values():
        module.requires_grad_(requires_grad=False)
    for _, weight in learning:
        weight.requires_grad_()
    if stage.holds_named:
        hold_named_directions(student)
    dtype = fast_dtype()
    optimiser = Optimiser(learning, stage.rate, steps, stage.cool_down, dtype)
    start, averages = _resume(file, student, optimiser)
    end = steps if until is None else min(until, steps)
    console = Console()
    with Progress(
        TextColumn(f"[bold]{stage.name}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[news]}"),
        console=console,
        disable=not console.is_terminal,
    ) as progress:
        bar = progress.add_task(stage.name, total=steps, completed=start, news="")
        began = saved = time.monotonic()
        for number in range(start, end):
            # Each step has dice of its own, so that a resumed run goes on as if it had never stopped.
            dice = random.Random(f"{SEED}:{stage.name}:{number}")  # noqa: S311 (a game of dice, not a secret)
            torch.manual_seed(dice.randrange(2**31))
            batch = stage.draw(dice, number / steps)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
                loss, parts = stage.loss(student, batch)
            loss.backward()
            optimiser.step(number)
            for name, value in parts.items():
                averages[name] = 0.96 * averages.get(name, value) + 0.04 * value
            news = "  ".join(f"{name} {value:.3f}" for name, value in averages.items())
            progress.update(bar, advance=1, news=news)
            if not console.is_terminal and (number + 1) % SAY_EVERY == 0:
                pace = (time.monotonic() - began) / (number + 1 - start)
                print(f"{stage.name} {number + 1}/{steps}  {pace:.2f} s/step  {news}", flush=True)
            ends = stopped() or number + 1 == end
            if ends or (number + 1) % SAVE_EVERY == 0 or time.monotonic() - saved > SAVE_SECONDS:
                state = {"step": number + 1, "finished": number + 1 == steps, "averages": averages}
                _save(file, stage, student, optimiser, state)
                saved = time.monotonic()
            if ends:
                break
    return averages


def _save(file: Path, stage: Stage[Any], student: Student, optimiser: Optimiser, state: dict[str, object]) -> None:
    state["weights"] = {name: weight.detach() for name, weight in stage.parameters(student)}
    state["optimiser"] = [] if state["finished"] else optimiser.state()
    draft = file.with_suffix(".draft")
    torch.save(state, draft)
    os.replace(draft, file)


def _resume(file: Path, student: Student, optimiser: Optimiser) -> tuple[int, dict[str, float]]:
    """Load a checkpoint where there is one; the step to go on with, and the averages so far."""
    if not file.is_file():
        return 0, {}
    state = torch.load(file, weights_only=True)
    load_weights(student, state["weights"])
    if not state["finished"]:
        optimiser.load(state["optimiser"])
    return int(state["step"]), dict(state.get("averages", {}))


def _gather(student: Student, folder: Path, stage: Stage[Any]) -> None:
    """Begin with what earlier stages have learnt.

    Raises:
        FileNotFoundError: one of them has not been run.
    """
    for name in stage.starts_from:
        load_weights(student, learnt(folder, name))


def learnt(folder: Path, stage: str) -> dict[str, torch.Tensor]:
    """The weights that a stage has changed, by the names that `Stage.parameters` gives them.

    Raises:
        FileNotFoundError: it has not been run.
    """
    weights: dict[str, torch.Tensor] = torch.load(folder / f"{stage}.pt", weights_only=True)["weights"]
    return weights


@torch.no_grad()
def load_weights(student: Student, weights: dict[str, torch.Tensor]) -> None:
    """Copy weights by the names that `Stage.parameters` gives them."""
    known = {
        f"{part}.{name}": weight
        for part, module in student.parts().items()
        for name, weight in module.named_parameters()
    }
    for name, weight in weights.items():
        known[name].copy_(weight)
