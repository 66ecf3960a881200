"""Reads a JSON body strictly, before anything else does.

Python's reader takes more than JSON and gives what later breaks: NaN, half a surrogate pair, which no encoder writes,
and so many brackets that whoever walks the document runs out of stack. Of a member that is there twice it takes the
last, where a gateway in front may have read the first: one of them would decide the price, the other one be billed.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from ..errors.invalid_body import written
from ..errors.refusal import Refusal

DEEPEST: Final = 256
"""Levels of a body. vLLM takes schemas of 64 and less (sampling_params.py); templates recurse from level to level."""

MOST_COMMAS: Final = 2**20
"""Commas of a body, those in its texts included: so many values keep the event loop for less than a second. A prompt
of a million tokens is within it, and what has more fits no context."""

MOST_CONTAINERS: Final = 100_000
"""Lists and objects of a body: each takes some microseconds until its request is known to be good."""


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
    if body.count(b",") > MOST_COMMAS:
        raise _bad(f"the body has more than {MOST_COMMAS} commas: so many values fit no prompt")
    if body.count(b"[") + body.count(b"{") > DEEPEST:
        _refuse_brackets(body)
    reader = _Reader()
    try:
        document = reader.decoder.decode(body.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise _bad("the body is not UTF-8") from None
    except json.JSONDecodeError as exc:
        raise _bad(f"the body is not JSON: {exc.msg} at character {exc.pos}") from None
    except RecursionError:
        raise _bad(_TOO_DEEP) from None
    except ValueError:  # of Python's own limit on digits
        raise _bad("the body has a number of more digits than anything needs") from None
    if reader.doubled:
        _refuse(document, frozenset(), _is_twice, "is there twice; send it once")
    # One byte is found two hundred times as fast as two, and base64 has none.
    if b"\\" in body and b"\\u" in body:
        _refuse(document, lenient, _is_torn, "has half of a surrogate pair, which is no character")
    if reader.endless:
        _refuse(document, lenient, _is_endless, "is no finite number")
    return document


class _Reader:
    """Python's reader, which notes what it would let pass.

    endless: some number has no end: NaN, Infinity, or one too large for a float.
    doubled: some object has two members of one name. Their value in the document is _TWICE.
    """

    def __init__(self) -> None:
        self.decoder = json.JSONDecoder(
            parse_float=self._number, parse_constant=self._number, object_pairs_hook=self._object
        )
        self.endless = False
        self.doubled = False

    def _object(self, members: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(members)
        if len(found) < len(members):
            self.doubled = True
            counts = Counter(name for name, _ in members)
            found.update((name, _TWICE) for name, count in counts.items() if count > 1)
        return found

    def _number(self, text: str) -> float | int:
        number = float(text)
        self.endless = self.endless or not math.isfinite(number)
        # JSON has one kind of number: 5.0 is an integer, as its schemas have it, and some clients write it so.
        return int(number) if abs(number) <= _EXACT and number.is_integer() else number


_TWICE: Final = object()
_EXACT: Final = 2**53
"""Up to here a float holds every integer."""

_TOO_DEEP: Final = f"the body nests more than {DEEPEST} levels deep"
_HALF: Final = re.compile("[\ud800-\udfff]")
_STRUCTURE: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)
"""Strings as a whole, ended or not, and brackets: one pass, whatever a body is made of."""


def _refuse_brackets(body: bytes) -> None:
    """Count levels, and lists and objects, without building the document."""
    depth = containers = 0
    for match in _STRUCTURE.finditer(body):
        first = match[0][:1]
        if first in b"[{":
            depth += 1
            containers += 1
            if depth > DEEPEST:
                raise _bad(_TOO_DEEP)
            if containers > MOST_CONTAINERS:
                raise _bad(f"the body has more than {MOST_CONTAINERS} lists and objects")
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


def _is_twice(leaf: Any) -> bool:
    return leaf is _TWICE


def _is_endless(leaf: Any) -> bool:
    return isinstance(leaf, float) and not math.isfinite(leaf)


def _bad(message: str) -> BadBody:
    return BadBody(Refusal(400, "invalid_json", message))
