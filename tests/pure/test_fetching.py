"""Whom a URL asks, and that nobody else is asked."""

from __future__ import annotations

import asyncio
import ipaddress
import random
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from counting import ADDRESSES, HOST, LISTED, PUBLIC, Counting, counting, write_hosts
from sppruner_vllm.fetching import Failed, Fetcher, FetchError, Forbidden, Limits, host_of
from sppruner_vllm.fetching.addresses import CheckedResolver, may_connect, read_hosts
from sppruner_vllm.fetching.target import target_of

CONTENT = b"the picture"
NETWORKS = [ipaddress.ip_network(f"{PUBLIC}/32")]


@pytest.mark.parametrize(
    ("written", "host"),
    [
        ("Example.COM", "example.com"),
        ("example.com.", "example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
        ("pictures。example", "pictures.example"),
        ("a_b.example", "a_b.example"),
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1.", "127.0.0.1"),
        ("0x7f000001", "127.0.0.1"),
        ("0x7F.1", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("017700000001", "127.0.0.1"),
        ("0177.0.0.01", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("\uff11\uff12\uff17.0.0.1", "127.0.0.1"),
        ("①②⑦.0.0.1", "127.0.0.1"),
        ("0", "0.0.0.0"),
        ("[::1]", "::1"),
        ("[0:0:0:0:0:0:0:1]", "::1"),
        ("[::ffff:127.0.0.1]", "127.0.0.1"),
        ("[::FFFF:7f00:1]", "127.0.0.1"),
        ("::1", "::1"),
    ],
)
def test_a_host_has_one_spelling(written: str, host: str) -> None:
    assert host_of(written) == host
    assert host_of(host) == host


@pytest.mark.parametrize(
    "written",
    [
        "",
        ".",
        "a..b",
        "example.com..",
        "-a.com",
        "a b.com",
        "a%2eb.com",
        "[fe80::1%eth0]",
        "[::1",
        "256.0.0.1",
        "1.2.3.4.5",
        "0x100000000",
        "09.0.0.1",
        "a." * 130 + "com",
        "[127.0.0.1]",
        "a/b",
        "a@b",
        "\ud800.com",
        "*",
    ],
)
def test_what_is_no_host_is_refused(written: str) -> None:
    with pytest.raises(Forbidden):
        host_of(written)


def test_no_number_is_read_otherwise_than_the_system_reads_it() -> None:
    chance = random.Random(1)
    read = 0
    for _ in range(20_000):
        written = "".join(chance.choice("0123456789abfxX.") for _ in range(chance.randrange(1, 14)))
        with suppress(OSError, Forbidden):
            system = socket.inet_ntoa(socket.inet_aton(written))
            assert host_of(written) == system, written
            read += 1
    assert read > 1000


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a.example/x",
        "gopher://a.example",
        "//a.example/x",
        "a.example",
        "",
        "http:a.example",
        "http:/a.example",
        "http://",
        "http:///x",
        "http://user@a.example/",
        "http://user:pw@a.example/",
        "http://a.example:99999/",
        "http://a.example:x/",
        "http://a.example\\@b.example/",
        "http://a.example/\nx",
        " http://a.example/",
        "javascript:1",
        "http://[::1]x/",
        "http://a.example:80@b.example/",
        "http://a.example/" + "x" * 9000,
        "http://a.example/\x00",
    ],
)
def test_what_is_no_plain_url_is_refused(url: str) -> None:
    with pytest.raises(Forbidden):
        target_of(url)


def test_a_url_is_asked_for_as_it_was_signed() -> None:
    target = target_of("HTTP://Example.com:8080/a%2fb/%C3%BC;x?sig=%2B%2f+a&x=[1]#part")
    assert str(target.url) == "http://example.com:8080/a%2fb/%C3%BC;x?sig=%2B%2f+a&x=[1]"
    assert str(target_of("http://[::ffff:8.8.8.8]/ü?q=ö").url) == "http://8.8.8.8/%C3%BC?q=%C3%B6"
    assert target_of("https://[2606:4700::1]").url.host == "2606:4700::1"


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_the_public_internet_may_be_connected_to(address: str) -> None:
    assert may_connect(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.255.255.255",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "192.88.99.1",
        "::",
        "::1",
        "fe80::1",
        "fc00::1",
        "fec0::1",
        "ff0e::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::7f00:1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "2002:7f00:1::",
        "2001::1",
        "2001:db8::1",
        "3fff::1",
        "100::1",
        "5f00::1",
    ],
)
def test_nothing_else_may(address: str) -> None:
    assert not may_connect(ipaddress.ip_address(address))
    assert may_connect(ipaddress.ip_address(address), [ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")])


@pytest.fixture(scope="module")
def web() -> Iterator[Counting]:
    with counting(CONTENT) as server:
        yield server


@pytest.fixture(scope="module")
def fetcher(tmp_path_factory: pytest.TempPathFactory) -> Fetcher:
    known = read_hosts(write_hosts(tmp_path_factory.mktemp("names") / "hosts"))
    assert known == {name: list(map(str, map(ipaddress.ip_address, found))) for name, found in ADDRESSES.items()}
    return Fetcher(frozenset(LISTED) | {PUBLIC, "127.0.0.1"}, CheckedResolver(NETWORKS, known), "test")


def fetch(fetcher: Fetcher, url: str, seconds: float = 20, size: int = 2**20, redirects: int = 3) -> bytes:
    return asyncio.run(fetcher.fetch(url, Limits(seconds, size, redirects)))


@pytest.mark.parametrize(
    "make",
    [
        lambda web: web.url("/picture/1"),
        lambda web: web.url("/picture/1", "PICTURES.example."),
        lambda web: web.url("/picture/1", PUBLIC),
        lambda web: web.url("/picture/1", f"[::ffff:{PUBLIC}]"),
        lambda web: web.url("/picture/1", "bücher.example"),
        lambda web: web.url("/chain/3"),
        lambda web: web.url(f"/to/{web.url('/picture/1', PUBLIC)}"),
    ],
)
def test_what_may_be_fetched_is(fetcher: Fetcher, web: Counting, make) -> None:
    web.addresses.clear()
    assert fetch(fetcher, make(web)) == CONTENT
    assert set(web.addresses) == {PUBLIC}


@pytest.mark.parametrize("host", ["loopback.example", "six.example", "mapped.example", "private.example"])
@pytest.mark.parametrize("redirected", [False, True])
def test_a_name_of_an_address_that_is_not_public_is_not_connected_to(
    fetcher: Fetcher, web: Counting, host: str, redirected: bool
) -> None:
    web.asked.clear()
    url = web.url("/picture/2", host)
    with pytest.raises(Failed):
        fetch(fetcher, web.url(f"/to/{url}") if redirected else url)
    assert web.asked["/picture/2"] == 0


def test_one_bad_address_among_good_ones_is_enough(fetcher: Fetcher, web: Counting) -> None:
    web.asked.clear()
    with pytest.raises(Failed):
        fetch(fetcher, web.url("/picture/3", "mixed.example"))
    assert not web.asked


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:{port}/picture/4",
        "http://0x7f000001:{port}/picture/4",
        "http://[::1]:{port}/picture/4",
        "http://unlisted.example:{port}/picture/4",
        "http://user:pw@pictures.example:{port}/picture/4",
        "//127.0.0.1:{port}/picture/4",
        "file:///etc/passwd",
        "ftp://pictures.example/x",
        "http://[fe80::1%25lo]/",
        "",
    ],
)
def test_no_redirect_leads_where_no_url_may(fetcher: Fetcher, web: Counting, location: str) -> None:
    web.asked.clear()
    with pytest.raises(Failed):
        fetch(fetcher, web.url("/to/" + location.format(port=web.port)))
    assert web.asked.total() == 1


@pytest.mark.parametrize(
    "path", ["/round", "/chain/4", "/status/404", "/status/500", "/status/503", "/large", "/endless"]
)
def test_what_comes_to_nothing_is_asked_for_no_more_than_it_may(fetcher: Fetcher, web: Counting, path: str) -> None:
    web.asked.clear()
    with pytest.raises(Failed):
        fetch(fetcher, web.url(path))
    assert web.asked.total() == (4 if path in ("/round", "/chain/4") else 1)


@pytest.mark.parametrize("path", ["/drip", "/silent"])
def test_a_host_that_takes_its_time_is_left_and_asked_once(fetcher: Fetcher, web: Counting, path: str) -> None:
    web.asked.clear()
    with pytest.raises(Failed):
        fetch(fetcher, web.url(path), seconds=0.5)
    assert web.asked == {path: 1}


def test_a_dead_port_a_live_one_and_a_name_without_an_address_answer_alike(fetcher: Fetcher, web: Counting) -> None:
    with socket.socket() as unused:
        unused.bind((PUBLIC, 0))
        dead = f"http://{HOST}:{unused.getsockname()[1]}/picture/5"
        kinds = set()
        for url in (dead, web.url("/status/404"), web.url("/picture/5", "loopback.example")):
            with pytest.raises(FetchError) as refusal:
                fetch(fetcher, url)
            kinds.add(type(refusal.value))
    assert kinds == {Failed}


def test_compressed_content_is_not_taken(fetcher: Fetcher, web: Counting) -> None:
    with pytest.raises(Failed):
        fetch(fetcher, web.url("/gzip"))


def test_a_proxy_of_the_environment_is_not_used(
    fetcher: Fetcher, web: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert fetch(fetcher, web.url("/picture/6")) == CONTENT


def test_a_budget_can_end_it(fetcher: Fetcher, web: Counting) -> None:
    def spent(size: int) -> None:
        raise ValueError(f"{size} is too much")

    with pytest.raises(Failed):
        asyncio.run(fetcher.fetch(web.url("/picture/7"), Limits(20, 2**20, 0), spent))


def test_without_hosts_nothing_is_asked(web: Counting) -> None:
    web.asked.clear()
    fetcher = Fetcher(frozenset(), CheckedResolver(NETWORKS), "test")
    for url in (web.url("/picture/8", PUBLIC), web.url("/picture/8"), "http://8.8.8.8/"):
        with pytest.raises(Forbidden):
            fetch(fetcher, url)
    assert not web.asked


def test_any_host_still_has_to_be_public(web: Counting) -> None:
    web.asked.clear()
    fetcher = Fetcher(None, CheckedResolver(), "test")
    with pytest.raises(Forbidden):
        fetch(fetcher, web.url("/picture/9", "127.0.0.1"))
    with pytest.raises(Failed):
        fetch(fetcher, web.url("/picture/9", "localhost"))
    assert not web.asked


def test_a_hosts_file_that_is_none_is_refused(tmp_path: Path) -> None:
    for text in ("pictures.example 127.0.0.1", "127.0.0.1 a..b"):
        (tmp_path / "hosts").write_text(text)
        with pytest.raises(ValueError, match=r"is no host|does not appear"):
            read_hosts(tmp_path / "hosts")
    (tmp_path / "hosts").write_text("# none\n\n127.0.0.1 # nobody\n")
    assert read_hosts(tmp_path / "hosts") == {}
