"""What a URL asks for: one spelling of its host, whichever of many the client chose, or a refusal.

A host is compared, resolved and connected to in this spelling, so that nobody along the way reads it otherwise.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

import idna
from yarl import URL

from .kinds import Forbidden

_LONGEST: Final = 8192
"""Characters of a URL."""

_UNPRINTABLE: Final = re.compile(r"[\x00-\x20\x7f\\]")
_LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMBER: Final = re.compile(r"0x[0-9a-f]*|[0-9]+")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request is to go.

    url: with the host in its one spelling. host: that. secure: whether it goes over TLS.
    """

    url: URL
    host: str
    secure: bool


def target_of(text: str) -> Target:
    """What an http or https URL asks for.

    Raises:
        Forbidden: another scheme, a user or password, a host that is none, characters that no URL has.
    """
    if len(text) > _LONGEST or _UNPRINTABLE.search(text):
        raise Forbidden("not a URL")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise Forbidden("not a URL") from error
    if parts.scheme not in ("http", "https") or not text[len(parts.scheme) :].startswith("://"):
        raise Forbidden("not an http or https URL")
    if "@" in parts.netloc:
        raise Forbidden("a URL with a user")
    host = host_of(_written(parts))
    authority = (f"[{host}]" if ":" in host else host) + ("" if port is None else f":{port}")
    asked = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        # Not written anew where it can be sent as it is: a signature may cover every letter.
        url = URL(f"{parts.scheme}://{authority}{asked}", encoded=asked.isascii())
    except ValueError as error:
        raise Forbidden("not a URL") from error
    return Target(url, host, parts.scheme == "https")


def host_of(written: str) -> str:
    """The one spelling of a host: lower case, IDNA, no dot at its end; addresses as the system writes them.

    Args:
        written: a name or an address, an IPv6 address in brackets or without.

    Raises:
        Forbidden: it is neither.
    """
    if ":" in written:
        return _six(written[1:-1] if written.startswith("[") and written.endswith("]") else written)
    name = _ascii(written).removesuffix(".")
    labels = name.split(".")
    if not name or len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise Forbidden("not a host")
    return str(_four(labels)) if _NUMBER.fullmatch(labels[-1]) else name


def _written(parts: SplitResult) -> str:
    """The host as it stands in the URL; `hostname` would have changed it."""
    netloc = parts.netloc
    if netloc.startswith("["):
        address, closed, port = netloc.partition("]")
        if not closed or (port and not port.startswith(":")):
            raise Forbidden("not a host")
        return address + closed
    return netloc.partition(":")[0]


def _ascii(name: str) -> str:
    if name.isascii():
        return name.lower()
    try:
        return idna.encode(name, uts46=True).decode().lower()
    except (idna.IDNAError, UnicodeError) as error:
        raise Forbidden("not a host") from error


def _six(text: str) -> str:
    """An IPv6 address, or the IPv4 address that it wraps."""
    try:
        if "%" in text:
            raise ValueError("a zone")
        address = ipaddress.IPv6Address(text)
    except ValueError as error:
        raise Forbidden("not an address") from error
    return str(address.ipv4_mapped or address)


def _four(labels: list[str]) -> ipaddress.IPv4Address:
    """An IPv4 address in any way that systems read one: fewer parts, octal, hexadecimal."""
    try:
        numbers = [_number(label) for label in labels]
        *whole, last = numbers
        if len(numbers) > 4 or any(number > 255 for number in whole) or last >= 256 ** (5 - len(numbers)):
            raise ValueError("too large")
        return ipaddress.IPv4Address(sum(part << 8 * (3 - place) for place, part in enumerate(whole)) + last)
    except ValueError as error:
        raise Forbidden("not an address") from error


def _number(label: str) -> int:
    if not _NUMBER.fullmatch(label) or len(label) > 16:
        raise ValueError("not a number")
    if label.startswith("0x"):
        return int(label[2:] or "0", 16)
    return int(label, 8) if label.startswith("0") and len(label) > 1 else int(label)
