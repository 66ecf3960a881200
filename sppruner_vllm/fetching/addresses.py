"""Which addresses may be connected to, and what a host's addresses are.

A name is resolved once, every address it has is checked, and the connection goes to one of these: a name that answers
otherwise a moment later changes nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult

from .kinds import Failed, Forbidden
from .target import host_of

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
_NOT_GLOBAL: Final = (
    ipaddress.ip_network("192.88.99.0/24"),  # relays to 6to4
    ipaddress.ip_network("2002::/16"),  # 6to4: an IPv4 address inside, of any kind
    ipaddress.ip_network("3fff::/20"),  # documentation
)
"""What Python calls global, or did in some version, and is not."""


def may_connect(address: Address, networks: Iterable[Network] = ()) -> bool:
    """Whether an address is on the public internet, or in one of the operator's networks."""
    plain = getattr(address, "ipv4_mapped", None) or address
    if any(plain in network for network in networks):
        return True
    if any(plain in network for network in _NOT_GLOBAL) or plain.is_multicast or plain.is_reserved:
        return False
    return plain.is_global and (plain.version == 4 or plain in _UNICAST)


class CheckedResolver(AbstractResolver):
    """Resolves names for aiohttp, and only to addresses that may be connected to."""

    def __init__(self, networks: Sequence[Network] = (), known: Mapping[str, Sequence[str]] | None = None) -> None:
        """Args:
        networks: of the operator's, beside the public internet.
        known: addresses by host, which are not asked for.
        """
        self._networks = networks
        self._known = known or {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Addresses of a host, all of them checked.

        Raises:
            Failed: it has none, or one that must not be connected to.
        """
        addresses = [ipaddress.ip_address(text) for text in await self._addresses(host)]
        if not addresses or not all(may_connect(address, self._networks) for address in addresses):
            raise Failed("no address to connect to")
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
            if family in (socket.AF_UNSPEC, socket.AF_INET if address.version == 4 else socket.AF_INET6)
        ]

    async def close(self) -> None:
        """Nothing is held."""

    def check(self, host: str) -> None:
        """Refuse an address, for which nobody asks a resolver; a name passes.

        Raises:
            Forbidden: it must not be connected to.
        """
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return
        if not may_connect(address, self._networks):
            raise Forbidden("not a public address")

    async def _addresses(self, host: str) -> Sequence[str]:
        if (known := self._known.get(host)) is not None:
            return known
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise Failed("the host has no address") from error
        return [str(place[0]) for _, _, _, _, place in found]


def read_hosts(file: Path) -> dict[str, list[str]]:
    """Addresses by host of a file written as /etc/hosts is.

    Raises:
        OSError: it cannot be read.
        ValueError: it holds something else.
    """
    known: dict[str, list[str]] = {}
    for line in file.read_text().splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        for name in names:
            try:
                known.setdefault(host_of(name), []).append(str(ipaddress.ip_address(address)))
            except Forbidden as error:
                raise ValueError(f"{name!r} in {file} is no host") from error
    return known
