"""Writes the dashboards' JSON: `python deploy/grafana/generate.py`.

With --check it writes nothing, and exits with 1 when a file is not what the program makes, or when a query names a
metric family that neither our code nor vLLM's defines.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from sppruner_dashboards.dashboard import Dashboard, variables
from sppruner_dashboards.families import defined, families_in
from sppruner_dashboards.serving import SERVING
from sppruner_dashboards.visual_tokens import VISUAL_TOKENS

FOLDER: Final = Path(__file__).resolve().parent / "dashboards"
DASHBOARDS: Final = (VISUAL_TOKENS, SERVING)


def texts(dashboards: Sequence[Dashboard] = DASHBOARDS) -> dict[str, str]:
    """File name to content of every dashboard."""
    return {dashboard.file_name: json.dumps(dashboard.as_json(dashboards), indent=2) + "\n" for dashboard in dashboards}


def stale(folder: Path, expected: Mapping[str, str]) -> list[str]:
    """What is wrong with the files of a folder, one message each."""
    present = {file.name: file.read_text() for file in sorted(folder.glob("*.json"))}
    wrong = [f"{name} is missing" for name in expected if name not in present]
    wrong += [f"{name} is no dashboard of ours" for name in present if name not in expected]
    wrong += [f"{name} is stale" for name, text in expected.items() if present.get(name, text) != text]
    return [f"{message}: run python deploy/grafana/generate.py" for message in wrong]


def undefined(dashboards: Sequence[Dashboard], known: Mapping[str, str]) -> list[str]:
    """The queries and variables that name a family nobody defines, one message each.

    Args:
        known: families as /metrics names them.
    """
    asked = [
        (f"{dashboard.title}, {panel.title}", name)
        for dashboard in dashboards
        for row in dashboard.rows
        for panel in row.panels
        for name in panel.families
    ]
    asked += [
        (f"variable {variable['name']}", family)
        for variable in variables()
        if variable["type"] == "query"
        for family in families_in(variable["query"]["query"])
    ]
    return [f"{where}: no code defines {family}" for where, family in asked if family not in known]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 when something is wrong")
    options = parser.parse_args(arguments)
    if not options.check:
        FOLDER.mkdir(exist_ok=True)
        for name, text in texts().items():
            (FOLDER / name).write_text(text)
        return 0
    problems = stale(FOLDER, texts()) + undefined(DASHBOARDS, defined())
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
