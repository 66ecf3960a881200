"""The two model runners, each with the Python and the environment variables that a process of it takes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from models import Model
from outcomes import Report
from scenarios import Engine

ROOT: Final = Path(__file__).resolve().parents[2]
SCRIPT: Final = Path(__file__).with_name("ask.py")
SHARED: Final = ROOT / "tests"
"""What tests of several folders import."""

LAYERED: Final = ROOT / ".cache" / "runner-v2" / "bin" / "python"

OUTPUT: Final = 8000
"""Characters of a failed process's output that are shown."""

COMMON: Final = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "SPPRUNER_ALLOW_METHOD": "1",
    "SPPRUNER_THROUGHPUT_GUARD": "0",
}
"""What both get.

The size of the KV cache is said, or vLLM would measure memory first: that run leaves attention out, and where all
values in its place are NaN by chance the interpreter finds no largest one. One thread, so that sums are added up in
one order. Without a binding, or two ranks would need two memory nodes. Nothing is measured at the start: interpreted,
a dummy prompt takes long.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Runner:
    """python: of the environment it runs in. module: of its class on a CPU. variables: in addition to COMMON."""

    python: str
    module: str
    variables: Mapping[str, str]

    def ask(self, model: Path, engine: str, file: Path, fault: str | None = None) -> Report | str:
        """Run ask.py on this runner.

        Args:
            model: checkpoint folder. engine: its name. file: where the report goes. fault: name of one to put in.

        Returns:
            What it reports, or the end of what it printed when it failed.
        """
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("TRITON_")}
        arguments = [str(model), engine, str(file), *([] if fault is None else [fault])]
        done = subprocess.run(
            [self.python, str(SCRIPT), *arguments],
            env=inherited | COMMON | dict(self.variables) | {"PYTHONPATH": str(SHARED)},
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return Report.read(file) if done.returncode == 0 else done.stdout[-OUTPUT:]


V1: Final = Runner(sys.executable, "vllm.v1.worker.cpu_model_runner", {"VLLM_USE_V2_MODEL_RUNNER": "0"})
V2: Final = Runner(
    str(LAYERED), "vllm.v1.worker.cpu.model_runner", {"VLLM_USE_V2_MODEL_RUNNER": "1", "TRITON_INTERPRET": "1"}
)


Reporter = Callable[[Runner, Model, Engine], Report]
"""What the fixture `report` is."""


def make_layered_environment() -> None:
    """V2's environment; a second call finds it."""
    subprocess.run([sys.executable, str(ROOT / "deploy" / "runner_v2_env.py")], check=True)
