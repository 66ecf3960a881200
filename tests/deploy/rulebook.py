"""The shipped rules as the tests read them, and spoilt copies of them that the rules' own unit tests have to notice."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

SHIPPED = Path(__file__).resolve().parents[2] / "deploy" / "prometheus"

FAMILY = re.compile(r"(?<![:\w])(?:vllm:|sppruner_)\w+")
HISTOGRAM_PART = re.compile(r"_(bucket|sum|count)$")
COMPARISON = re.compile(r"(==|<=|>=|<|>)(?! *bool)")
MATCHERS = re.compile(r"(\{[^}]*\})")


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a file in rules/; labels and annotations are an alert's, empty for a recording."""

    file: str
    name: str
    expr: str
    is_alert: bool
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def families(self) -> set[str]:
        """The families it names itself, as /metrics names them."""
        return {HISTOGRAM_PART.sub("", sample) for sample in FAMILY.findall(self.expr)}

    @property
    def sampled(self) -> str:
        """A query with a sample wherever the rule has something to judge: an alert's shows also while it is silent."""
        return judged(self.expr) if self.is_alert else self.name


def rules() -> list[Rule]:
    """Every shipped rule, in the order of its file."""
    return [
        Rule(
            file=path.name,
            name=entry.get("record") or entry["alert"],
            expr=entry["expr"],
            is_alert="alert" in entry,
            labels=entry.get("labels", {}),
            annotations=entry.get("annotations", {}),
        )
        for path in sorted((SHIPPED / "rules").glob("*.yml"))
        for group in yaml.safe_load(path.read_text())["groups"]
        for entry in group["rules"]
    ]


def judged(expr: str) -> str:
    """The expression with comparisons that answer 0 or 1, where PromQL's own drop the series that fail them."""
    parts = MATCHERS.split(expr)
    return "".join(part if part.startswith("{") else COMPARISON.sub(r"\1 bool", part) for part in parts)


def spoilt(rule: Rule, expr: str, folder: Path) -> Path:
    """A copy of the rules and their unit tests in which one rule has another expression.

    Returns:
        The unit tests of the rule's file; for an alert, those that name it, as each evaluates all rules for hours.
    """
    copy = folder / "prometheus"
    shutil.copytree(SHIPPED, copy)
    path = copy / "rules" / rule.file
    document = yaml.safe_load(path.read_text())
    for group in document["groups"]:
        for entry in group["rules"]:
            if rule.name in (entry.get("record"), entry.get("alert")):
                entry["expr"] = expr
    path.write_text(yaml.safe_dump(document))
    trials = copy / "tests" / rule.file
    if rule.is_alert:
        document = yaml.safe_load(trials.read_text())
        document["tests"] = [one for one in document["tests"] if rule.name in yaml.safe_dump(one)]
        trials.write_text(yaml.safe_dump(document))
    return trials


def run(promtool: Path, *arguments: str | Path, text: str | None = None) -> tuple[bool, str]:
    """Run promtool; whether it was content, and all it said."""
    command = [str(promtool), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, input=text)
    return done.returncode == 0, done.stdout + done.stderr
