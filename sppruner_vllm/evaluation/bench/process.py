"""The bench's side of an engine process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, cast

from .arms import Engine
from .engine import READY
from .protocol import Done, Task

_ENVIRONMENT: Final = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
}


class EngineFailed(RuntimeError):
    """An engine process ended; the message holds the end of its log."""


class EngineProcess:
    """An engine that starts at once, and sleeps whenever it has no task."""

    def __init__(self, engine: Engine, model: Path, dtype: str, log: Path, options: Mapping[str, Any]) -> None:
        """Args:
        engine: what it is. model: folder of its checkpoint. dtype: of weights and activations.
        log: file that its output is added to. options: further ones of `LLM`.
        """
        self.engine, self._log = engine, log
        # Nothing of ours in the caller's environment may reach an engine: its settings are the engine's alone.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SPPRUNER_")}
        command = [sys.executable, "-m", "sppruner_vllm.evaluation.bench.engine", str(model), dtype]
        with log.open("ab") as file:
            self._process = subprocess.Popen(  # noqa: S603 (our own arguments)
                [*command, json.dumps(dict(options))],
                env=inherited | _ENVIRONMENT | engine.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
            )
        self._tasks = cast("IO[str]", self._process.stdin)
        self._answers = cast("IO[str]", self._process.stdout)

    def wait_until_ready(self) -> None:
        """Raises:
        EngineFailed: it could not start.
        """
        if self._answer() != READY:
            raise self._failure()

    def do(self, task: Task) -> Done:
        """Raises:
        EngineFailed: it ended.
        """
        self._tasks.write(task.to_json() + "\n")
        self._tasks.flush()
        return Done.from_json(self._answer())

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        self._tasks.close()
        self._answers.close()

    def __enter__(self) -> EngineProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _answer(self) -> str:
        if not (line := self._answers.readline().strip()):
            raise self._failure()
        return line

    def _failure(self) -> EngineFailed:
        tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-20:])
        return EngineFailed(f"the engine '{self.engine.name}' ended. The end of its log, {self._log}:\n{tail}")
