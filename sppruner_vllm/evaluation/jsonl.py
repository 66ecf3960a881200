"""A user's own questions: one JSON object a line, checked before anything is asked.

Fields: image or images (path relative to the file, http(s) URL, data URL or base64), question, answer, and, if wanted,
metric, tolerance, id, family, group. docs/use/evaluation.md shows an example.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from .pictures import picture_from
from .questions import DatasetError, Picture, Question
from .scoring import METRICS, Metric, MetricName, parse_tolerance


def read_jsonl(path: Path) -> list[Question]:
    """Every question of a file, in its order; empty lines are skipped.

    Raises:
        DatasetError: names the file, the line and the field.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"cannot read {path}: {error}") from error
    return [
        _Line(path, number, _object(path, number, line)).question()
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]


def _object(path: Path, number: int, line: str) -> Mapping[str, Any]:
    try:
        fields = json.loads(line)
    except json.JSONDecodeError as error:
        raise DatasetError(f"{path}, line {number}: not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise DatasetError(f"{path}, line {number}: must be a JSON object")
    return fields


class _Line:
    """One line of the file on its way to a question."""

    def __init__(self, path: Path, number: int, fields: Mapping[str, Any]) -> None:
        self.path, self.number, self.fields = path, number, fields

    def question(self) -> Question:
        return Question(
            id=self._text("id", default=f"line-{self.number}"),
            images=self._images(),
            text=self._text("question"),
            answers=self._answers(),
            metric=self._metric(),
            family=self._text("family", default="all"),
            group=self._text("group", default="") or None,
        )

    def _text(self, field: str, default: str | None = None) -> str:
        value = self.fields.get(field, default)
        if field != "question" and isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if not isinstance(value, str) or (default is None and not value.strip()):
            raise self._wrong(field, "must be a text that is not empty" if default is None else "must be a text")
        return value

    def _images(self) -> tuple[Picture, ...]:
        if ("image" in self.fields) == ("images" in self.fields):
            raise self._wrong("image", "give either image or images")
        field = "image" if "image" in self.fields else "images"
        value = self.fields[field]
        sources = [value] if field == "image" else value
        if not isinstance(sources, list) or not sources or not all(isinstance(one, str) for one in sources):
            wanted = "a text" if field == "image" else "a list of texts that is not empty"
            raise self._wrong(field, f"must be {wanted}: path, URL, data URL or base64")
        try:
            return tuple(picture_from(source, self.path.parent) for source in sources)
        except (OSError, ValueError) as error:
            raise self._wrong(field, str(error)) from error

    def _answers(self) -> tuple[str, ...]:
        value = self.fields.get("answer")
        answers = value if isinstance(value, list) else [value]
        texts = [one for one in answers if isinstance(one, str | int | float) and not isinstance(one, bool)]
        if not answers or len(texts) < len(answers) or not all(str(text).strip() for text in texts):
            raise self._wrong("answer", "must be a text or a number, or a list of them, none of them empty")
        if self.fields.get("metric") == "number":
            self._check_numbers(texts)
        return tuple(str(text) for text in texts)

    def _check_numbers(self, texts: list[Any]) -> None:
        for text in texts:
            try:
                float(text)
            except ValueError as error:
                raise self._wrong("answer", f"must be a number for the metric number, got {text!r}") from error

    def _metric(self) -> Metric:
        name = self.fields.get("metric", "exact")
        if name not in METRICS:
            raise self._wrong("metric", f"must be one of {', '.join(METRICS)}, got {name!r}")
        tolerance = self.fields.get("tolerance")
        if tolerance is None:
            return Metric(cast("MetricName", name))
        if name != "number":
            raise self._wrong("tolerance", "goes with the metric number only")
        try:
            return Metric("number", *parse_tolerance(tolerance))
        except ValueError as error:
            raise self._wrong("tolerance", str(error)) from error

    def _wrong(self, field: str, problem: str) -> DatasetError:
        return DatasetError(f"{self.path}, line {self.number}, field {field}: {problem}")
