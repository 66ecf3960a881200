"""Where a run keeps what it has: everything that a second call goes on from."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from sppruner_vllm.evaluation.conditions import Condition

from .sets import StandardSet


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run compares. model: for people. limit: most questions of a set. facts: what the report says of it."""

    model: str
    sets: tuple[str, ...]
    methods: tuple[str, ...]
    ratios: tuple[float, ...]
    limit: int | None
    facts: dict[str, str]


@dataclass(frozen=True, slots=True)
class Folder:
    """The files of a run under `root`."""

    root: Path

    def answers(self, condition: Condition) -> Path:
        return self.root / "answers" / f"{_name(condition)}.jsonl"

    def outcomes(self, condition: Condition, standard: StandardSet) -> Path:
        return self.root / "outcomes" / _name(condition) / f"{standard.task}.json"

    def harness(self, condition: Condition) -> Path:
        """What lmms-eval writes; emptied before it runs."""
        return self.root / "lmms-eval" / _name(condition)

    def log(self, condition: Condition) -> Path:
        return self.root / "logs" / f"{_name(condition)}.log"

    @property
    def server_log(self) -> Path:
        return self.root / "logs" / "server.log"

    @property
    def tasks(self) -> Path:
        return self.root / "tasks"

    def write_plan(self, plan: Plan) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / "plan.json").write_text(json.dumps(asdict(plan), indent=2) + "\n")

    def read_plan(self) -> Plan | None:
        """The plan of the last run here, None when there was none."""
        file = self.root / "plan.json"
        if not file.is_file():
            return None
        kept: dict[str, Any] = json.loads(file.read_text())
        known: dict[str, Any] = {one.name: kept[one.name] for one in fields(Plan)}
        lists = {name: tuple(value) for name, value in known.items() if isinstance(value, list)}
        return Plan(**{**known, **lists})


def _name(condition: Condition) -> str:
    return f"{condition.method}-{condition.ratio:g}"
