"""Our media connector on vLLM's own: how it fetches in an `LLM` and in a server, and what it makes of local files."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from vllm.exceptions import VLLMValidationError
from vllm.multimodal.media import MEDIA_CONNECTOR_REGISTRY

import sppruner_vllm
from counting import HOST, PUBLIC, Counting, counting, write_hosts
from serving import png
from sppruner_vllm.api import fetching_connector
from sppruner_vllm.errors import InvalidField
from sppruner_vllm.settings import settings


@pytest.fixture(scope="module")
def web() -> Iterator[Counting]:
    with counting(png(28, 28)) as server:
        yield server


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """As in a process of the server, whose operator lets it fetch at PUBLIC."""
    monkeypatch.setattr(fetching_connector, "_serves", [True])
    monkeypatch.setenv("SPPRUNER_FETCH_NETWORKS", f"{PUBLIC}/32")
    monkeypatch.setenv("SPPRUNER_FETCH_HOSTS_FILE", str(write_hosts(tmp_path / "hosts")))
    _forget()
    yield
    monkeypatch.undo()
    _forget()


def _forget() -> None:
    settings.cache_clear()
    fetching_connector._resolver.cache_clear()


def connector(*hosts: str, files: str = "") -> Any:
    """As vLLM makes it for a request."""
    sppruner_vllm.register()
    return MEDIA_CONNECTOR_REGISTRY.load("http", allowed_media_domains=list(hosts), allowed_local_media_path=files)


def is_picture(loaded: Any) -> bool:
    return loaded.media.size == (28, 28)


def refused(loader: Any, url: str) -> str:
    codes, messages = set(), set()
    for load in (loader.fetch_image, lambda given: asyncio.run(loader.fetch_image_async(given))):
        with pytest.raises(VLLMValidationError) as refusal:
            load(url)
        assert isinstance(refusal.value.__cause__, InvalidField)
        codes.add(refusal.value.__cause__.code)
        messages.add(str(refusal.value.__cause__))
    assert len(codes) == len(messages) == 1
    return codes.pop()


def test_an_llm_fetches_as_vllm_does(web: Counting) -> None:
    _forget()
    assert is_picture(connector().fetch_image(web.url("/picture/a", "127.0.0.1")))


@pytest.mark.usefixtures("served")
def test_a_server_fetches_from_nowhere_until_it_is_told(web: Counting) -> None:
    web.asked.clear()
    for host in (HOST, PUBLIC, "127.0.0.1", "8.8.8.8"):
        assert refused(connector(), web.url("/picture/b", host)) == "image_url_forbidden"
    assert not web.asked


@pytest.mark.usefixtures("served")
def test_a_server_fetches_from_a_host_that_it_is_told(web: Counting) -> None:
    loader = connector("Pictures.EXAMPLE")
    assert is_picture(loader.fetch_image(web.url("/picture/c")))
    assert is_picture(asyncio.run(loader.fetch_image_async(web.url("/picture/c"))))
    assert web.asked["/picture/c"] == 2
    assert refused(loader, web.url("/status/404")) == "image_fetch_failed"


@pytest.mark.usefixtures("served")
def test_a_loop_that_runs_already_is_in_nobodys_way(web: Counting) -> None:
    async def load() -> object:
        return connector(HOST).fetch_image(web.url("/picture/d"))

    assert is_picture(asyncio.run(load()))


@pytest.mark.usefixtures("served")
@pytest.mark.parametrize("mode", ["any", "vllm", "listed"])
def test_an_operator_says_how(web: Counting, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    monkeypatch.setenv("SPPRUNER_URL_FETCHING", mode)
    settings.cache_clear()
    public, private = web.url("/picture/e", PUBLIC), web.url("/picture/e", "127.0.0.1")
    if mode == "listed":
        assert refused(connector(), public) == "image_url_forbidden"
        return
    assert is_picture(connector().fetch_image(public))
    if mode == "any":
        assert refused(connector(), private) == "image_url_forbidden"
        assert refused(connector("other.example"), public) == "image_url_forbidden"
    else:
        assert is_picture(connector().fetch_image(private))


@pytest.mark.usefixtures("served")
def test_redirects_are_vllms_to_turn_off(web: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_picture(connector(HOST).fetch_image(web.url("/chain/2")))
    monkeypatch.setenv("VLLM_MEDIA_URL_ALLOW_REDIRECTS", "0")
    assert refused(connector(HOST), web.url("/chain/1")) == "image_fetch_failed"


@pytest.mark.usefixtures("served")
def test_no_more_is_read_than_the_operator_allows(web: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPPRUNER_FETCH_MIB", "1")
    settings.cache_clear()
    assert refused(connector(HOST), web.url("/large")) == "image_fetch_failed"


def test_local_files_are_open_where_vllm_opens_them(tmp_path: Path) -> None:
    inside, outside = tmp_path / "open" / "a.png", tmp_path / "b.png"
    inside.parent.mkdir()
    for file in (inside, outside):
        file.write_bytes(png(28, 28))
    loader = connector(files=str(inside.parent))
    assert is_picture(loader.fetch_image(inside.as_uri()))
    for url in (
        outside.as_uri(),
        (inside.parent / "none.png").as_uri(),
        inside.parent.as_uri(),
        "file:///etc/hostname",
    ):
        assert refused(loader, url) == "image_url_forbidden"
    assert refused(connector(), inside.as_uri()) == "image_url_forbidden"
