"""The shipped dashboards as the tests read them: their panels, and queries with Grafana's variables filled in."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
GRAFANA = DEPLOY / "grafana"
sys.path.insert(0, str(GRAFANA))  # the generator is a program beside the JSON, not an installed package

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Target:
    """One query of a shipped panel, with where it stands."""

    dashboard: str
    panel: str
    expr: str
    legend: str
    instant: bool

    def __str__(self) -> str:
        return f"{self.dashboard}: {self.panel}: {self.legend}"


def dashboards() -> dict[str, Json]:
    """Every shipped dashboard by its file's name without the ending."""
    return {file.stem: json.loads(file.read_text()) for file in sorted((GRAFANA / "dashboards").glob("*.json"))}


def panels(dashboard: Json) -> list[Json]:
    """The panels of a dashboard that show something: rows are left out."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def targets() -> Iterator[Target]:
    """Every query of every shipped panel."""
    for name, dashboard in dashboards().items():
        for panel in panels(dashboard):
            for target in panel["targets"]:
                yield Target(name, panel["title"], target["expr"], target["legendFormat"], target["instant"])


def filled(expr: str, *, interval: str = "1m", window: str = "15m", chosen: str = ".+") -> str:
    """A query as Grafana sends it.

    Args:
        interval: for `$__rate_interval`.
        window: the dashboard's time range.
        chosen: what every variable is set to; the default is "All".
    """
    for variable in ("job", "instance", "model_name"):
        expr = expr.replace(f"${variable}", chosen)
    return expr.replace("$__rate_interval", interval).replace("$__range", window)
