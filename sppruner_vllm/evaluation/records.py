"""The answers on disk: one JSON object a line, only ever appended to, so that a run can stop anywhere and go on later.

A file may hold several runs (another model, seed or way of asking); each line names its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from .conditions import Condition
from .lines import append_lines, read_lines


@dataclass(frozen=True, slots=True)
class Header:
    """What a run was: everything that two runs must share for their answers to be one set, and what is good to know.

    key: the run's name, from `run_key`. questions: content digest by question id. facts: backend, versions, time.
    """

    key: str
    model: str
    dataset: str
    seed: int
    manner: Mapping[str, Any]
    methods: tuple[str, ...]
    ratios: tuple[float, ...]
    questions: Mapping[str, str]
    facts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Record:
    """One answer under one condition. content: the question's digest. The costs are those of `asking.Answer`."""

    method: str
    ratio: float
    question: str
    content: str
    family: str
    group: str
    answer: str
    score: float
    original: int | None
    retained: int | None
    prompt_tokens: int | None
    ttft: float | None
    seconds: float | None

    @property
    def condition(self) -> Condition:
        return Condition(self.method, self.ratio)


@dataclass(frozen=True, slots=True)
class Block:
    """Wall-clock seconds that some questions took together under one condition, for the throughput."""

    method: str
    ratio: float
    questions: int
    seconds: float


@dataclass(slots=True)
class Kept:
    """What the file holds of one run; of answers to the same question the last."""

    records: dict[tuple[Condition, str, str], Record] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)

    def has(self, condition: Condition, question: str, content: str) -> bool:
        return (condition, question, content) in self.records


def run_key(*parts: object) -> str:
    """A short name for what the parts say."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


class Store:
    """The file of answers."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, header: Header) -> None:
        """Note the start, or the resumption, of a run."""
        append_lines(self.path, [{"kind": "run", **asdict(header)}])

    def add(self, key: str, records: Iterable[Record], block: Block) -> None:
        """Add what was just answered to the run `key`."""
        lines = [{"kind": "answer", "run": key, **asdict(record)} for record in records]
        append_lines(self.path, [*lines, {"kind": "block", "run": key, **asdict(block)}])

    def kept(self, key: str) -> Kept:
        """Everything of the run `key`."""
        kept = Kept()
        for line in read_lines(self.path):
            if line.get("run") != key:
                continue
            if line["kind"] == "answer":
                record = Record(**_of(Record, line))
                kept.records[record.condition, record.question, record.content] = record
            else:
                kept.blocks.append(Block(**_of(Block, line)))
        return kept

    def last_header(self) -> Header | None:
        """The header of the run that was started or resumed last."""
        headers = [line for line in read_lines(self.path) if line["kind"] == "run"]
        if not headers:
            return None
        last = _of(Header, headers[-1])
        return Header(**{**last, "methods": tuple(last["methods"]), "ratios": tuple(last["ratios"])})


def _of(kind: type[Any], line: Mapping[str, Any]) -> dict[str, Any]:
    names = {one.name for one in fields(kind)}
    return {name: value for name, value in line.items() if name in names}
