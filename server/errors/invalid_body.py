"""The one sentence that a body deserves which its schema refuses: pydantic says a dozen, in a shape of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from vllm.exceptions import VLLMValidationError

from .codes import CODES
from .refusal import Refusal
from .wording import code_of, field_named, sanitised

_NO_OBJECT: Final = frozenset({"missing", "model_attributes_type", "model_type", "dict_type"})
_NAMED_OTHERWISE: Final = 2
_PREFIXES: Final = ("Value error, ", "Assertion failed, ")


def refusal_of_body(exc: RequestValidationError) -> Refusal:
    """The 400 for a body that its schema refuses; a 415 for one that is no JSON by its header.

    Where a value could have been one of several things, pydantic tells what each would want. The error that lies
    deepest in the body is taken, as it is the one that got furthest; of several, one of what the value is most like.
    """
    errors: Sequence[Any] = exc.errors()
    first = errors[0] if errors else "Validation error"
    if not isinstance(first, dict):  # vLLM's own dependency, entrypoints/serve/utils/api_utils.py
        return _told(str(first), None)
    if first.get("type") == "json_invalid":
        return Refusal(400, "invalid_json", "the body is not JSON")
    told = [_Told(error, *_place(error, exc.body)) for error in errors if isinstance(error, dict)]
    unlike: Counter[Sequence[str | int]] = Counter()
    for one in told:
        unlike[one.taken_for] += one.unlikeness
    deepest = max(told, key=lambda one: (len(one.place), -unlike[one.taken_for], one.tells))
    error, param = deepest.error, written(deepest.place)
    cause = error.get("ctx", {}).get("error") if isinstance(error.get("ctx"), dict) else None
    if isinstance(cause, VLLMValidationError):
        return _told(sanitised(cause), cause.parameter or param)
    if param is None and error.get("type") in _NO_OBJECT:
        return Refusal(400, "invalid_json", "the body must be a JSON object")
    if error.get("type") == "missing":
        return Refusal(400, "missing_required_parameter", f"{param} must be given", param)
    message = str(error.get("msg", ""))
    for prefix in _PREFIXES:
        message = message.removeprefix(prefix)
    message = sanitised(message)
    param = param or field_named(message, exc.body)
    return _told(message if param is None or message.startswith(param) else f"{param}: {message}", param)


@dataclass(frozen=True, slots=True)
class _Told:
    """One error of pydantic's. place: in the body. taken_for: the things that the values on the way were taken for."""

    error: dict[str, Any]
    place: Sequence[str | int]
    taken_for: Sequence[str | int]

    @property
    def unlikeness(self) -> int:
        """How much it says against that: most where a value names itself another thing."""
        kind = self.error.get("type")
        if kind == "literal_error" and self.place[-1:] in (["type"], ["role"]):
            return _NAMED_OTHERWISE
        return 1 if kind == "missing" else 0

    @property
    def tells(self) -> int:
        """How much it tells: little, where it is about what the value was not meant to be."""
        if self.unlikeness:
            return 1 if self.unlikeness == _NAMED_OTHERWISE else 0
        return 2 if str(self.error.get("type", "")).endswith("_type") else 3


def _told(message: str, param: str | None) -> Refusal:
    code = code_of(400, message, param)
    return Refusal(CODES[code].status, code, message, param)


def _place(error: dict[str, Any], body: object) -> tuple[list[str | int], tuple[str | int, ...]]:
    """Where in the body the error is, and the rest of pydantic's path, which names its own types."""
    place: list[str | int] = []
    types: list[str | int] = []
    node = body
    if error.get("loc", ())[:1] == ("query",):
        return list(error["loc"][1:2]), ()
    steps = [step for step in error.get("loc", ()) if step != "body"]
    for number, step in enumerate(steps):
        missing = error.get("type") == "missing" and number == len(steps) - 1
        if isinstance(node, dict) and (step in node or missing):
            node = node.get(step)
        elif isinstance(node, list) and isinstance(step, int) and step < len(node):
            node = node[step]
        else:
            types.append(step)
            continue
        place.append(step)
    return place, tuple(types)


def written(place: Sequence[str | int]) -> str | None:
    """A place as OpenAI writes it, `messages[0].content`; None for the body itself."""
    parts = [f"[{step}]" if isinstance(step, int) else f".{step}" for step in place]
    return "".join(parts).removeprefix(".") or None
