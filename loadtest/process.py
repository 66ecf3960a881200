"""Runs Locust with our locustfile in a process of its own: gevent patches the whole interpreter it is loaded into."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from .files import RESULT
from .slo import SLO_MISSED

LOCUSTFILE: Final = Path(__file__).with_name("locustfile.py")
LOG: Final = "locust.log"


class LoadFailed(RuntimeError):
    """The load did not run as asked; the message says where to look."""


def run_locust(url: str, out: Path, options: Mapping[str, object]) -> dict[str, Any]:
    """One run.

    Args:
        url: of the server.
        out: folder for its result, reports and log.
        options: by name with underscores; True stands for a flag alone, None is left out.

    Returns:
        The result, also of a run that missed its SLO.

    Raises:
        LoadFailed: it ended with another status: too many requests failed, or it did not run at all.
    """
    out.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless", "--only-summary", "--host", url]
    with (out / LOG).open("wb") as log:
        status = subprocess.run(  # noqa: S603 (our own command)
            [*command, *arguments({**options, "out": out})], stdout=log, stderr=log, check=False, env=_environment()
        ).returncode
    if status not in (0, SLO_MISSED):
        raise LoadFailed(f"the load generator ended with status {status}; see {out / LOG}")
    result: dict[str, Any] = json.loads((out / RESULT).read_text())
    return result


def arguments(options: Mapping[str, object]) -> list[str]:
    """Options as a command line."""
    words: list[str] = []
    for name, value in options.items():
        flag = "--" + name.replace("_", "-")
        if value is True:
            words.append(flag)
        elif value is not None and value is not False:
            words += [flag, str(value)]
    return words


def _environment() -> dict[str, str]:
    """Ours; Locust reads LOCUST_* variables and configuration files of its own, which must not change a measurement."""
    return {name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")}
