"""Media by URL, fetched with care: vLLM's connector with `sppruner_vllm.fetching` in place of its HTTP client.

A server that anybody may send URLs to fetches from the hosts of `--allowed-media-domains`, none by default. In an
`LLM`, whose caller has the machine anyway, vLLM's own client stays unless the setting says otherwise.
docs/use/api.md, "Pictures by URL".
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from ipaddress import ip_network
from typing import Any, Final, NoReturn

from vllm import envs
from vllm.multimodal.media import MediaConnector
from vllm.multimodal.media.connector import global_thread_pool

from sppruner_vllm.errors import InvalidField
from sppruner_vllm.fetching import Failed, Fetcher, Forbidden, Limits, host_of
from sppruner_vllm.fetching.addresses import CheckedResolver, read_hosts
from sppruner_vllm.settings import settings

from .refusing import refusing

REDIRECTS: Final = 3
"""Most that are followed, each of them checked; none where VLLM_MEDIA_URL_ALLOW_REDIRECTS is 0."""

URL_FORBIDDEN: Final = "image_url_forbidden"
FETCH_FAILED: Final = "image_fetch_failed"
URL_CODES: Final = frozenset((URL_FORBIDDEN, FETCH_FAILED))

_USUAL_SECONDS: Final = 10
_AGENT: Final = "sppruner-vllm"
_FORBIDDEN: Final = "this server does not load media from that URL; send them in a base64 data: URL"
_FAILED: Final = "nothing usable could be fetched from the URL"
_OUTSIDE: Final = ("Cannot load local files", "The file path")
"""Of vLLM's errors about --allowed-local-media-path."""
_NO_SUCH_FILE: Final = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)

_serves: list[bool] = []


def fetch_with_care() -> None:
    """Let this process fetch as a server should where the operator has not said how."""
    _serves[:] = [True]


class FetchingConnector(MediaConnector):
    """vLLM's MediaConnector whose HTTP requests cannot be sent where they should not go.

    Raises, from its methods:
        VLLMValidationError: a URL that is not loaded, or from which nothing came; from an InvalidField with the code.
    """

    def load_from_url(self, url: str, media_io: Any, *, fetch_timeout: int | None = None) -> Any:
        """What stands behind a URL."""
        if _is_local(url) or not _careful():
            return super().load_from_url(url, media_io, fetch_timeout=fetch_timeout)
        with ThreadPoolExecutor(1) as pool:  # this thread may have a loop of its own
            content = pool.submit(asyncio.run, self._fetched(url, media_io, fetch_timeout)).result()
        return media_io.load_bytes(content)

    async def load_from_url_async(self, url: str, media_io: Any, *, fetch_timeout: int | None = None) -> Any:
        """As `load_from_url`."""
        if _is_local(url) or not _careful():
            return await super().load_from_url_async(url, media_io, fetch_timeout=fetch_timeout)
        content = await self._fetched(url, media_io, fetch_timeout)
        return await asyncio.get_running_loop().run_in_executor(global_thread_pool, media_io.load_bytes, content)

    async def _fetched(self, url: str, media_io: Any, fetch_timeout: int | None) -> bytes:
        try:
            fetcher = Fetcher(self._hosts(), _resolver(), _AGENT)
            fetcher.admit(url)
            kept: bytes | None = await asyncio.to_thread(self._get_cached_bytes, url)
            if kept is not None:
                return kept
            # vLLM 0.32 has no budget of a request.
            budget = getattr(self, "download_budget", None)
            limits = Limits(fetch_timeout or _USUAL_SECONDS, _most_bytes(media_io), _redirects())
            content = await fetcher.fetch(url, limits, *([] if budget is None else [budget.charge]))
            await asyncio.to_thread(self._put_cached_bytes, url, content)
        except Forbidden as error:
            _refuse(URL_FORBIDDEN, _FORBIDDEN, error)
        except Failed as error:
            _refuse(FETCH_FAILED, _FAILED, error)
        return content

    def _hosts(self) -> frozenset[str] | None:
        """The hosts that are fetched from; None for any."""
        if not self.allowed_media_domains and settings().url_fetching == "any":
            return None
        return frozenset(host_of(domain) for domain in self.allowed_media_domains)

    def _load_file_url(self, url_spec: Any, media_io: Any) -> Any:
        """A local file, as vLLM has it; which files there are is not the client's to learn."""
        try:
            return super()._load_file_url(url_spec, media_io)
        except (RuntimeError, ValueError) as error:
            if str(error).startswith(_OUTSIDE):
                _refuse(URL_FORBIDDEN, _FORBIDDEN, error)
            raise
        except _NO_SUCH_FILE as error:
            _refuse(URL_FORBIDDEN, _FORBIDDEN, error)


def _careful() -> bool:
    chosen = settings().url_fetching
    return bool(_serves) if chosen is None else chosen != "vllm"


def _is_local(url: str) -> bool:
    return url[:5].lower() in ("data:", "file:")


@cache
def _resolver() -> CheckedResolver:
    chosen = settings()
    networks = [ip_network(network) for network in chosen.fetch_networks.split(",") if network]
    return CheckedResolver(networks, read_hosts(chosen.fetch_hosts_file) if chosen.fetch_hosts_file else None)


def _most_bytes(media_io: Any) -> int:
    own = media_io.get_max_bytes()
    most = settings().fetch_mib * 2**20
    return most if own is None else min(own, most)


def _redirects() -> int:
    return REDIRECTS if envs.VLLM_MEDIA_URL_ALLOW_REDIRECTS else 0


def _refuse(code: str, message: str, error: Exception) -> NoReturn:
    """The refusal as vLLM's error, without a word of what was met."""
    with refusing():
        raise InvalidField("image_url", message, code=code) from error
    raise AssertionError("unreachable")
