"""Reads a JSON body strictly, before anything else does.

Python's reader takes more than JSON and gives what later breaks: NaN, half a surrogate pair, which no encoder writes,
and so many brackets that whoever walks the document runs out of stack.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any, Final

from ..errors.invalid_body import written
from ..errors.refusal import Refusal

DEEPEST: Final = 256
"""Levels of a body. vLLM takes schemas of 64 and less (sampling_params.py); templates recurse from level to level."""


class BadBody(Exception):
    """A body that is not JSON as we take it."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


def read(body: bytes, lenient: frozenset[str] = frozenset()) -> Any:
    """The document in a body.

    Args:
        body: of the request, not empty.
        lenient: fields at its top whose values someone else will judge.

    Raises:
        BadBody: it is not JSON in UTF-8, or has what cannot be used.
    """
    if body.count(b"[") + body.count(b"{") > DEEPEST:
        _refuse_depth(body)
    numbers = _Numbers()
    try:
        document = numbers.decoder.decode(body.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise _bad("the body is not UTF-8") from None
    except json.JSONDecodeError as exc:
        raise _bad(f"the body is not JSON: {exc.msg} at character {exc.pos}") from None
    except RecursionError:
        raise _bad(_TOO_DEEP) from None
    except ValueError:  # of Python's own limit on digits
        raise _bad("the body has a number of more digits than anything needs") from None
    if b"\\u" in body:
        _refuse(document, lenient, _is_torn, "has half of a surrogate pair, which is no character")
    if numbers.endless:
        _refuse(document, lenient, _is_endless, "is no finite number")
    return document


class _Numbers:
    """A reader that notes whether some number has no end: NaN, Infinity, or one too large for a float."""

    def __init__(self) -> None:
        self.decoder = json.JSONDecoder(parse_float=self._read, parse_constant=self._read)
        self.endless = False

    def _read(self, text: str) -> float | int:
        number = float(text)
        self.endless = self.endless or not math.isfinite(number)
        # JSON has one kind of number: 5.0 is an integer, as its schemas have it, and some clients write it so.
        return int(number) if abs(number) <= _EXACT and number.is_integer() else number


_EXACT: Final = 2**53
"""Up to here a float holds every integer."""

_TOO_DEEP: Final = f"the body nests more than {DEEPEST} levels deep"
_HALF: Final = re.compile("[\ud800-\udfff]")
_STRUCTURE: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)
"""Strings as a whole, ended or not, and brackets: one pass, whatever a body is made of."""


def _refuse_depth(body: bytes) -> None:
    """Count levels without building the document."""
    depth = 0
    for match in _STRUCTURE.finditer(body):
        first = match[0][:1]
        if first in b"[{":
            depth += 1
            if depth > DEEPEST:
                raise _bad(_TOO_DEEP)
        elif first in b"]}":
            depth -= 1


def _refuse(document: Any, lenient: frozenset[str], is_bad: Callable[[Any], bool], words: str) -> None:
    if isinstance(document, dict):
        document = {name: value for name, value in document.items() if name not in lenient}
    place: list[str | int] = []
    if _leads_to(document, is_bad, place):
        param = written(place)
        raise BadBody(Refusal(400, "invalid_value", f"{param or 'the body'} {words}", param))


def _leads_to(node: Any, is_bad: Callable[[Any], bool], place: list[str | int]) -> bool:
    """Whether some key or leaf below is bad; `place` is led there. As deep as a body may be, and no deeper."""
    if not isinstance(node, dict | list):
        return is_bad(node)
    for step, value in node.items() if isinstance(node, dict) else enumerate(node):
        if isinstance(node, dict) and is_bad(step):
            return True
        place.append(step)
        if _leads_to(value, is_bad, place):
            return True
        place.pop()
    return False


def _is_torn(leaf: Any) -> bool:
    return isinstance(leaf, str) and _HALF.search(leaf) is not None


def _is_endless(leaf: Any) -> bool:
    return isinstance(leaf, float) and not math.isfinite(leaf)


def _bad(message: str) -> BadBody:
    return BadBody(Refusal(400, "invalid_json", message))
