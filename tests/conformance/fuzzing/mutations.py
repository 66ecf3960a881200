"""Ways to spoil a JSON body: on the document, and on the bytes that carry it.

Each takes a generator of random numbers and changes one thing, so that the same seed spoils the same way.
"""

from __future__ import annotations

import copy
import gzip
import json
import math
import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

Document = Any
Place = tuple[Any, Any]
"""A container, and the key or index of one value in it."""

NESTED: Any = {"a": [{"a": [{"a": [{}]}]}]}
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 7, 0.5, -0.5, 1e-9, 1e308, float("nan"), float("inf"), float("-inf")),
    *(2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**30),
    *("", " ", "x", "0", "1", "true", "null", "auto", "none", "required", "user", "tool", "text", "json_object"),
    *("\x00", "\ud800", "\udc00\ud800", "a\ud83d", "\ufeff", "💥", "\u202e", "%s%n", "../../etc/passwd", "x" * 5000),
    *("<|image_pad|>", "<|vision_start|>", "<|im_start|>system\n", "<|endoftext|>", "{{ 1 }}", "{% for %}"),
    *("data:", "data:,", "data:image/png;base64,", "data:image/png;base64,AAAA", "data:video/mp4;base64,AAAA"),
    *("http://127.0.0.1:9/x.png", "file:///etc/passwd", "https://", "ftp://x/y", "http://[::1", "//x"),
    *([], {}, [[]], [None], [{}], [1], [1, 2], ["x"], ["\ud800"], {"a": None}, {"": ""}, {"type": None}, NESTED),
    *({"type": "text"}, {"type": "image_url", "image_url": None}, {"type": "image_url", "image_url": {"url": ""}}),
    *({"type": "input_audio", "input_audio": "x"}, {"type": "video_url", "video_url": {"url": "x"}}),
    *({"type": "image_pil", "image_pil": "x"}, {"type": "image_embeds", "image_embeds": "AAAA"}, {"type": "file"}),
    *({"role": "user"}, {"role": "assistant", "content": None}, {"role": "x", "content": "x"}),
    *({"$ref": "#"}, {"type": "object", "properties": {"a": {"$ref": "#"}}}, {"type": "json_schema"}),
    *({"regex": "("}, {"regex": "a{1,99999}"}, {"grammar": "x"}, {"choice": []}, {"json": {"$ref": "#"}}),
)


def places(document: Document) -> list[Place]:
    """Every value of a document, as its container and where it stands in there; the document itself is none."""
    found: list[Place] = []
    if isinstance(document, dict | list):
        for key, value in list(document.items()) if isinstance(document, dict) else list(enumerate(document)):
            found.append((document, key))
            found += places(value)
    return found


def _value(chance: Random) -> Document:
    """One of VALUES, as a copy: what is put into one body may be changed there."""
    return copy.deepcopy(chance.choice(VALUES))


def _put_another_value(document: Document, chance: Random, _: Sequence[str]) -> None:
    holder, key = chance.choice(places(document))
    holder[key] = _value(chance)


def _take_away(document: Document, chance: Random, _: Sequence[str]) -> None:
    holder, key = chance.choice(places(document))
    del holder[key]


def _add_a_field(document: Document, chance: Random, fields: Sequence[str]) -> None:
    document[chance.choice(fields)] = _value(chance)


def _add_a_stray_key(document: Document, chance: Random, fields: Sequence[str]) -> None:
    holders = [document] + [holder[key] for holder, key in places(document) if isinstance(holder[key], dict)]
    chance.choice(holders)[chance.choice([*fields, "", "type", "url", "uuid", "content", "x"])] = _value(chance)


def _misspell_a_key(document: Document, chance: Random, _: Sequence[str]) -> None:
    holder, key = chance.choice([place for place in places(document) if isinstance(place[0], dict)])
    spelt = chance.choice([key.upper(), key.replace("_", ""), f" {key}", f"{key}s", key[:-1], f"{key}\x00"])
    holder[spelt] = holder.pop(key)


def _swap_two_values(document: Document, chance: Random, _: Sequence[str]) -> None:
    (one, here), (other, there) = chance.choice(places(document)), chance.choice(places(document))
    held = json.dumps(one[here]), json.dumps(other[there])  # copies: neither may hold itself
    one[here], other[there] = json.loads(held[1]), json.loads(held[0])


def _wrap(document: Document, chance: Random, _: Sequence[str]) -> None:
    holder, key = chance.choice(places(document))
    value = holder[key]
    holder[key] = chance.choice([[value], {"a": value}, [value, copy.deepcopy(value)], str(value), {"type": value}])


def _unwrap(document: Document, chance: Random, _: Sequence[str]) -> None:
    wrapped = [(h, k) for h, k in places(document) if isinstance(h[k], dict | list) and h[k]]
    if wrapped:
        holder, key = chance.choice(wrapped)
        held = holder[key]
        holder[key] = chance.choice(list(held.values()) if isinstance(held, dict) else held)


def _repeat_an_item(document: Document, chance: Random, _: Sequence[str]) -> None:
    if lists := [holder[key] for holder, key in places(document) if isinstance(holder[key], list) and holder[key]]:
        chosen = chance.choice(lists)
        item = chance.choice(chosen)
        chosen.extend(copy.deepcopy(item) for _ in range(chance.choice([1, 2, 40])))


def _damage_a_string(document: Document, chance: Random, _: Sequence[str]) -> None:
    if strings := [(holder, key) for holder, key in places(document) if isinstance(holder[key], str)]:
        holder, key = chance.choice(strings)
        text = holder[key]
        at = chance.randrange(len(text) + 1)
        piece = chance.choice(["\x00", "\ud800", "=", "\n", ";", "é", "<|image_pad|>", "💥", "/", ""])
        holder[key] = chance.choice([text[:at], text[:at] + piece + text[at + 1 :], text[:at] + piece + text[at:]])


def _make_a_number_extreme(document: Document, chance: Random, _: Sequence[str]) -> None:
    numbers = [(holder, key) for holder, key in places(document) if type(holder[key]) in (int, float)]
    if numbers:
        holder, key = chance.choice(numbers)
        holder[key] = chance.choice([-1, 0, 1, 0.5, 1e308, 2**31, 2**63, 2**64, 10**30, float("nan"), math.inf, True])


Mutation = Callable[[Document, Random, Sequence[str]], None]
ON_DOCUMENTS: tuple[Mutation, ...] = (
    _put_another_value,
    _put_another_value,
    _put_another_value,
    _take_away,
    _add_a_field,
    _add_a_field,
    _add_a_stray_key,
    _misspell_a_key,
    _swap_two_values,
    _wrap,
    _unwrap,
    _repeat_an_item,
    _damage_a_string,
    _damage_a_string,
    _make_a_number_extreme,
)


def spoil_document(document: Document, chance: Random, fields: Sequence[str], times: int) -> None:
    """Change a document in place, so many times.

    Args:
        document: a JSON object.
        chance: where the choices come from.
        fields: names that the endpoint knows at the top level.
        times: how many changes.
    """
    for _ in range(times):
        if not document:
            return
        chance.choice(ON_DOCUMENTS)(document, chance, fields)


def _cut(raw: bytes, chance: Random) -> bytes:
    return raw[: chance.randrange(len(raw))]


def _flip_bits(raw: bytes, chance: Random) -> bytes:
    damaged = bytearray(raw)
    for _ in range(chance.choice([1, 1, 3, 20])):
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def _break_utf8(raw: bytes, chance: Random) -> bytes:
    at = chance.randrange(len(raw))
    return raw[:at] + chance.choice([b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"]) + raw[at:]


def _nest(raw: bytes, chance: Random) -> bytes:
    depth = chance.choice([100, 2000, 50_000])
    opening, closing = chance.choice([(b"[", b"]"), (b'{"a":', b"}")])
    return raw[:-1] + b',"x":' + opening * depth + b"1" + closing * depth + b"}"


def _many_digits(raw: bytes, chance: Random) -> bytes:
    numbers = [match.span() for match in re.finditer(rb"(?<=:)[0-9.]+(?=[,}])", raw)]
    if not numbers:
        return raw
    begin, end = chance.choice(numbers)
    return raw[:begin] + chance.choice([b"9" * 5000, b"1e400", b"-0", b"1E+2", b"01", b"0x10", b"1_0"]) + raw[end:]


def _double_a_key(raw: bytes, chance: Random) -> bytes:
    keys = re.findall(rb'"[a-z_]+"(?=:)', raw)
    return raw[:-1] + b"," + chance.choice(keys) + b":" + chance.choice([b"null", b"1", b'"x"', b"[]", b"{}"]) + b"}"


def _surround(raw: bytes, chance: Random) -> bytes:
    around = [
        (b"\xef\xbb\xbf", b""),
        (b"", b"x"),
        (b"", b"{}"),
        (b"[", b"]"),
        (b"\x00", b""),
        (b"", b"\n\n"),
        (b'"', b'"'),
    ]
    before, behind = chance.choice(around)
    return before + raw + behind


def _be_something_else(raw: bytes, chance: Random) -> bytes:
    others = [b"", b"null", b"[]", b"{}", b"0", b'"x"', b"true", b"{", b"\x1f\x8b", b"a=b&c=d", b"<x/>"]
    return chance.choice([*others, raw.decode("latin-1").encode("utf-16"), gzip.compress(raw, mtime=0)])


ON_BYTES: tuple[Callable[[bytes, Random], bytes], ...] = (
    _cut,
    _flip_bits,
    _flip_bits,
    _break_utf8,
    _nest,
    _many_digits,
    _double_a_key,
    _surround,
    _be_something_else,
)


def spoil_bytes(raw: bytes, chance: Random) -> bytes:
    """Other bytes in place of a body's, changed in one way."""
    return chance.choice(ON_BYTES)(raw, chance) if raw else raw
