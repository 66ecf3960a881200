"""Runs lmms-eval once: every set under one condition."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sppruner_vllm.evaluation.conditions import FULL, Condition
from sppruner_vllm.evaluation.harness.client import run_name
from sppruner_vllm.evaluation.harness.lmms_plugin import NAME
from sppruner_vllm.request.fields import KEEP_RATIO, REDUCTION_METHOD

from .folder import Folder
from .outcomes import Incomplete, answers_of, collect, write_outcomes
from .sets import StandardSet
from .tied import tied


class HarnessRun:
    """What is the same for every condition."""

    def __init__(
        self,
        folder: Folder,
        url: str,
        model: str,
        run: str,
        tasks: Mapping[str, str],
        *,
        limit: int | None,
        concurrency: int,
        seconds: float,
        api_key: str,
    ) -> None:
        """Keep it.

        Args:
            folder: of the run.
            url, model, api_key: the server, and the name it serves the model under.
            run: what must not have changed for a kept answer to count.
            tasks: name of lmms-eval's task by that of the set's own task.
            limit: most questions of a set; None for all.
            concurrency: requests under way at a time.
            seconds: that one answer may take.
        """
        self._folder, self._run, self._tasks = folder, run, tasks
        self._limit, self._url, self._model = limit, url, model
        self._concurrency, self._seconds, self._api_key = concurrency, seconds, api_key

    def ask(self, condition: Condition, sets: Sequence[StandardSet], waiting: Callable[[int], None]) -> None:
        """Have lmms-eval ask some sets, and keep their outcomes.

        Args:
            condition: method and ratio.
            sets: those that have no outcome yet.
            waiting: called once a second with the number of answers there are.

        Raises:
            Incomplete: it ended without a result.
        """
        folder, answers = self._folder.harness(condition), self._folder.answers(condition)
        log = self._folder.log(condition)
        shutil.rmtree(folder, ignore_errors=True)
        log.parent.mkdir(parents=True, exist_ok=True)
        names = {standard: self._tasks[standard.task] for standard in sets}
        local = self._folder.tasks.is_dir()
        environment = {"HF_DATASETS_CACHE": str(self._folder.root / "datasets")} if local else {}
        with log.open("ab") as output:
            process = subprocess.Popen(  # noqa: S603 (our own command)
                tied(self._command(condition, list(names.values()), folder, answers)),
                env={**os.environ, **environment},
                stdout=output,
                stderr=output,
            )
            try:
                _wait(process, answers, waiting)
            finally:
                process.terminate()
                process.wait()
        known = answers_of(answers, run_name(self._run, _fields(condition)))
        for standard, task in names.items():
            found = list(folder.glob(f"**/*_samples_{task}.jsonl"))
            if len(found) != 1:
                raise Incomplete(f"lmms-eval gave no result for {standard.name} under {condition}: see {log}")
            write_outcomes(
                self._folder.outcomes(condition, standard), self._run, collect(standard, task, found[0], known)
            )

    def _command(self, condition: Condition, tasks: Sequence[str], folder: Path, answers: Path) -> list[str]:
        arguments = {
            "base_url": self._url,
            "model": self._model,
            "api_key": self._api_key,
            **_fields(condition),
            "answers": answers,
            "run": self._run,
            "num_concurrent": self._concurrency,
            "timeout": self._seconds,
        }
        command = [
            *(sys.executable, "-m", "lmms_eval", "--model", NAME),
            *("--model_args", ",".join(f"{name}={value}" for name, value in arguments.items())),
            *("--tasks", ",".join(tasks), "--log_samples", "--output_path", str(folder), "--verbosity", "WARNING"),
        ]
        if self._folder.tasks.is_dir():
            command += ["--include_path", str(self._folder.tasks)]
        return command if self._limit is None else [*command, "--limit", str(self._limit)]


def _fields(condition: Condition) -> dict[str, object]:
    method = {} if condition == FULL else {REDUCTION_METHOD: condition.method}
    return {KEEP_RATIO: condition.ratio, **method}


def _wait(process: subprocess.Popen[bytes], answers: Path, waiting: Callable[[int], None]) -> None:
    """Wait for the end, counting the lines of the file of answers as it grows."""
    count, read = 0, 0
    while process.poll() is None:
        if answers.is_file():
            with answers.open("rb") as file:
                file.seek(read)
                new = file.read()
            count, read = count + new.count(b"\n"), read + len(new)
        waiting(count)
        time.sleep(1)
