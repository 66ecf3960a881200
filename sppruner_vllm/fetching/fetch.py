"""One file from one URL, within a total of seconds, bytes and redirects; nothing is asked for twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

import aiohttp
from yarl import URL

from .addresses import CheckedResolver
from .kinds import Failed, Forbidden
from .target import Target, target_of

_REDIRECTS: Final = frozenset((301, 302, 303, 307, 308))
_CHUNK: Final = 2**16


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one file.

    seconds: from the question for the host's address to the last byte. size: bytes. redirects: how many are followed.
    """

    seconds: float
    size: int
    redirects: int


class Fetcher:
    """Fetches from the hosts it is told, or from any."""

    def __init__(self, hosts: Collection[str] | None, resolver: CheckedResolver, agent: str) -> None:
        """Args:
        hosts: in their one spelling (`host_of`); None for any.
        agent: what it calls itself.
        """
        self._hosts = hosts
        self._resolver = resolver
        self._headers = {"User-Agent": agent, "Accept-Encoding": "identity"}

    def admit(self, url: str) -> Target:
        """What the URL asks for, if it may be asked for at all.

        Raises:
            Forbidden: it may not.
        """
        target = target_of(url)
        if self._hosts is not None and target.host not in self._hosts:
            raise Forbidden("not one of the hosts")
        self._resolver.check(target.host)
        return target

    async def fetch(self, url: str, limits: Limits, received: Callable[[int], None] = lambda _: None) -> bytes:
        """The file.

        Args:
            received: is called with the size of each piece, and may raise a ValueError to end it.

        Raises:
            Forbidden: the URL may not be asked for; nothing was.
            Failed: anything else.
        """
        target = self.admit(url)
        try:
            async with asyncio.timeout(limits.seconds), self._session() as session:
                for _ in range(limits.redirects + 1):
                    found = await self._ask(session, target, limits.size, received)
                    if isinstance(found, bytes):
                        return found
                    target = self._followed(target, found)
        except (aiohttp.ClientError, OSError, ValueError, Forbidden) as error:  # TimeoutError is an OSError
            raise Failed("nothing usable came back") from error
        raise Failed("too many redirects")

    def _session(self) -> aiohttp.ClientSession:
        # A connection of its own: one that is kept would go where an earlier question went.
        connector = aiohttp.TCPConnector(resolver=self._resolver, use_dns_cache=False, force_close=True)
        return aiohttp.ClientSession(
            connector=connector,
            headers=self._headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
            trust_env=False,
        )

    async def _ask(
        self, session: aiohttp.ClientSession, target: Target, size: int, received: Callable[[int], None]
    ) -> bytes | str:
        """The file, or where it is said to be."""
        async with session.get(target.url, allow_redirects=False) as response:
            if response.status in _REDIRECTS:
                return response.headers.get("Location", "")
            if response.status != 200 or response.headers.get("Content-Encoding", "identity") != "identity":
                raise Failed("no file")
            if (response.content_length or 0) > size:
                raise Failed("too large")
            content = bytearray()
            async for chunk in response.content.iter_chunked(_CHUNK):
                content += chunk
                received(len(chunk))
                if len(content) > size:
                    raise Failed("too large")
            return bytes(content)

    def _followed(self, target: Target, location: str) -> Target:
        following = self.admit(str(target.url.join(URL(location))) if location else "")
        if target.secure and not following.secure:
            raise Failed("away from TLS")
        return following
