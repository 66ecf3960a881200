"""Reads one object of a body, and names the member that is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, NoReturn

from ...errors.invalid_body import written
from ...errors.places import Place
from ...errors.refusal import Refusal
from ..json_body import DEEPEST, BadBody, read

_WORDS: Final[dict[type, str]] = {str: "a string", dict: "an object", list: "a list", bool: "true or false"}


def fail(place: Place, what: str, code: str = "invalid_value") -> NoReturn:
    """Refuse what stands at a place.

    Raises:
        BadBody: always.
    """
    param = written(place)
    raise BadBody(Refusal(400, code, f"{param} {what}", param))


def fail_because(place: Place, why: str, code: str = "invalid_value") -> NoReturn:
    """Refuse what stands at a place, for a reason that does not begin with its name.

    Raises:
        BadBody: always.
    """
    param = written(place)
    raise BadBody(Refusal(400, code, f"{param}: {why}", param))


def missing(place: Place) -> NoReturn:
    """Refuse a body that lacks what should stand at a place.

    Raises:
        BadBody: always.
    """
    fail(place, "must be given", "missing_required_parameter")


def require(node: Mapping[str, Any], name: str, place: Place, *kinds: type) -> Any:
    """A member that must be there.

    Raises:
        BadBody: it is not, or is of another kind.
    """
    if name not in node:
        missing((*place, name))
    return expect(node[name], (*place, name), *kinds)


def expect_arguments(text: str, place: Place) -> None:
    """Refuse arguments of a call on which whoever reads them would stumble; those that are no JSON are taken as text.

    Raises:
        BadBody: they nest too deep, hold too much, or a number of too many digits.
    """
    try:
        json.loads(text)
        deep = text.count("[") + text.count("{") > DEEPEST
    except json.JSONDecodeError:
        return
    except (ValueError, RecursionError):
        deep = True
    if deep:
        try:
            read(text.encode())
        except BadBody as bad:
            fail(place, bad.refusal.message.replace("the body", "holds JSON that", 1))


def allow(node: Mapping[str, Any], place: Place, kind: type, *names: str) -> None:
    """Members that may be left out, or be null.

    Raises:
        BadBody: one is of another kind.
    """
    for name in names:
        if node.get(name) is not None:
            expect(node[name], (*place, name), kind)


def expect(value: Any, place: Place, *kinds: type) -> Any:
    """The value, if it is of one of the kinds.

    Raises:
        BadBody: it is not.
    """
    if type(value) not in kinds:
        fail(place, f"must be {' or '.join(_WORDS[kind] for kind in kinds)}")
    return value


def filled(value: Any, place: Place) -> str:
    """The value, if it is a string with something in it.

    Raises:
        BadBody: it is not.
    """
    text: str = expect(value, place, str)
    if not text:
        fail(place, "must be a filled string")
    return text


def objects(value: Any, place: Place) -> Iterator[tuple[Mapping[str, Any], Place]]:
    """The entries of a list of objects, each with its place.

    Raises:
        BadBody: it is no list, or something else is in it.
    """
    for number, entry in enumerate(expect(value, place, list)):
        yield expect(entry, (*place, number), dict), (*place, number)
