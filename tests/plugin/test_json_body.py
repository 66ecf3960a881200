"""Bodies as they are read before anything else; what a server answers to them is tried in tests/server."""

from __future__ import annotations

import json

import pytest
from sppruner_server.body.json_body import DEEPEST, MOST_COMMAS, MOST_CONTAINERS, BadBody, read
from sppruner_server.body.placement import MOST_NAMES, misplaced


def code(body: bytes, *lenient: str) -> tuple[str, str | None]:
    """Code and param of the refusal of a body."""
    with pytest.raises(BadBody) as caught:
        read(body, frozenset(lenient))
    return caught.value.refusal.code, caught.value.refusal.param


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": 1.5, "b": [true, null]}',
        b'\xef\xbb\xbf{"a": 1}',
        b' {"a": "\\ud83d\\ude00 \\\\ud800"} ',
        "{'ä': 1}".replace("'", '"').encode(),
    ],
    ids=["plain", "with a mark", "an escaped pair", "utf-8"],
)
def test_json_is_read_as_python_reads_it(body: bytes) -> None:
    assert read(body) == json.loads(body.decode("utf-8-sig"))


def test_as_many_levels_as_there_may_be_are_read_and_no_more() -> None:
    assert read(b"[" * DEEPEST + b"]" * DEEPEST)
    assert code(b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1)) == ("invalid_json", None)


def test_brackets_inside_strings_and_side_by_side_are_no_levels() -> None:
    assert read(json.dumps({"a": '["{' * 5000}).encode())
    assert len(read(b"[" + b"[],{}," * 5000 + b"1]")) == 10_001


def test_a_string_without_end_is_looked_through_once() -> None:
    """A million escaped quotes: each would begin another pass to the end."""
    assert code(b"[" * 300 + b'"' + rb"\"" * 1_000_000)[0] == "invalid_json"
    assert code(b"[]," * 300 + b'"' + rb"\"" * 1_000_000)[0] == "invalid_json"


def test_half_a_character_is_found_where_it_is() -> None:
    assert code(rb'{"a": [{"b": "x"}, {"b": "\udc00"}]}') == ("invalid_value", "a[1].b")
    assert code(rb'{"a": {"\ud800": 1}}') == ("invalid_value", "a")
    assert code(rb'{"\ud800": 1}') == ("invalid_value", None)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"a": 1, "a": 1}', "a"),
        (b'{"keep_ratio": 1, "keep_ratio": 0.1}', "keep_ratio"),
        (rb'{"keep_ratio": 1, "\u006b\u0065ep_ratio": 0.1}', "keep_ratio"),
        (b'{"a": [{"b": 1}, {"b": 1, "c": {"d": 1, "d": 2}}]}', "a[1].c.d"),
        (b'{"a": {"x": 1, "x": 2}, "b": {"y": 1, "y": 2}}', "a.x"),
        (b'{"a": {"x": 1, "x": 2}, "a": 1}', "a"),
        (b'{"": 1, "": 2}', None),
    ],
)
def test_what_is_there_twice_is_found_where_it_is(body: bytes, param: str | None) -> None:
    assert code(body, "keep_ratio") == ("invalid_value", param)


def test_names_that_differ_or_stand_elsewhere_are_not_twice() -> None:
    assert read(b'{"a": {"a": 1}, "A": 1, "b": [{"a": 1}, {"a": 1}]}')


def test_as_many_values_as_there_may_be_are_read_and_no_more() -> None:
    assert len(read(b"[" + b"0," * MOST_COMMAS + b"0]")) == MOST_COMMAS + 1
    assert code(b"[" + b"0," * (MOST_COMMAS + 1) + b"0]") == ("invalid_json", None)
    assert len(read(b"[" + b"{}," * (MOST_CONTAINERS - 1) + b"0]")) == MOST_CONTAINERS
    assert code(b"[" + b"{}," * MOST_CONTAINERS + b"0]") == ("invalid_json", None)


def test_what_others_judge_is_left_to_them() -> None:
    assert read(rb'{"keep_ratio": NaN, "focus_query": "\ud800"}', frozenset({"keep_ratio", "focus_query"}))
    assert code(rb'{"keep_ratio": NaN, "x": {"keep_ratio": NaN}}', "keep_ratio") == ("invalid_value", "x.keep_ratio")


def test_half_a_character_behind_very_many_others_takes_no_time_by_depth() -> None:
    deep = b'{"a":' * 200 + b"[" + b'"\\u00e9",' * 200_000 + rb'"\ud800"' + b"]" + b"}" * 200
    assert code(deep) == ("invalid_value", "a" + ".a" * 199 + "[200000]")


def test_of_very_many_names_only_the_first_are_compared() -> None:
    names = {f"some_name_{number}": 1 for number in range(MOST_NAMES)}
    assert misplaced({"keepratio": 1, **names}) is not None
    assert misplaced({**names, "keepratio": 1}) is None
