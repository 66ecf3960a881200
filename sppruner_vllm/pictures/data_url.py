"""`data:` URLs as clients write them: what can mean one thing only is taken, else the refusal says what is wrong.

RFC 2397 for the URL, RFC 4648 for base64 and its URL-safe alphabet; blanks, missing padding and percent escapes, which
decoders on the way add and take away, change no meaning.
"""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from sppruner_vllm.errors import UnusablePicture

SCHEME: Final = "data:"

_BLANKS: Final = b" \t\r\n\f\v"
_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")
_ALPHABET: Final = re.compile(rb"[^A-Za-z0-9+/]")


@dataclass(frozen=True, slots=True)
class DataURL:
    """media_type: in lower case, without parameters; empty where the URL names none. content: decoded."""

    media_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Parts:
    """A URL whose data is not decoded yet. data: what stands behind the comma."""

    media_type: str
    is_base64: bool
    data: str


def split(url: str) -> Parts:
    """The parts of a `data:` URL.

    Raises:
        UnusablePicture: there is no comma, behind which the data would begin.
    """
    head, comma, data = url.lstrip()[len(SCHEME) :].partition(",")
    if not comma:
        raise UnusablePicture("the data: URL has no comma: what comes before it says what the data is")
    media_type, *parameters = (word.strip().lower() for word in head.split(";"))
    return Parts(media_type, "base64" in parameters, data)


def read(url: str) -> DataURL:
    """What a `data:` URL holds.

    Raises:
        UnusablePicture: it holds nothing, or its data is no base64.
    """
    parts = split(url)
    if not parts.is_base64:
        return DataURL(parts.media_type, unquote_to_bytes(parts.data))
    return DataURL(parts.media_type, decoded(parts.data))


def decoded(text: str) -> bytes:
    """What a text in base64 stands for.

    Raises:
        UnusablePicture: it is empty, or can stand for nothing, or for more than one thing.
    """
    try:
        data = text.encode("ascii")
    except UnicodeEncodeError as error:
        raise UnusablePicture("the base64 data has characters that are no base64") from error
    if not data:
        raise UnusablePicture("the data: URL is empty: there is nothing behind its comma")
    try:
        # Nearly all are written as they should be; the rest costs several passes.
        return binascii.a2b_base64(data, strict_mode=True)
    except binascii.Error:
        return _leniently(data)


def _leniently(data: bytes) -> bytes:
    if b"%" in data:
        data = unquote_to_bytes(data)
    data = data.translate(None, _BLANKS)
    if (b"-" in data or b"_" in data) and (b"+" in data or b"/" in data):
        raise UnusablePicture("the base64 data mixes the usual alphabet (+ /) and the URL-safe one (- _)")
    data = data.translate(_URL_SAFE)
    bare = data.rstrip(b"=")
    if foreign := _ALPHABET.search(bare):
        raise UnusablePicture(f"the base64 data has a character that is no base64 at {foreign.start()}")
    if len(bare) % 4 == 1 or len(data) - len(bare) > 2:
        raise UnusablePicture("the base64 data is cut off: its length is none that base64 can have")
    if not bare:
        raise UnusablePicture("the data: URL is empty: there is nothing behind its comma")
    return binascii.a2b_base64(bare + b"=" * (-len(bare) % 4))
