"""API keys: what a file may say, and that what is wrong in one ends the start with a message."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from sppruner_server.cli import parse
from sppruner_server.keys.file import read_keys
from sppruner_server.keys.key import BadKeys, Key, find
from sppruner_server.keys.rates import SharedRates
from sppruner_server.keys.ring import KeyRing

from sppruner_vllm.folder import VARIABLE
from sppruner_vllm.settings import Settings, settings

DIGEST = hashlib.sha256(b"secret-of-a").hexdigest()

BAD = {
    "": "key: Field required",
    "key = []": "key: List should have at least 1 item",
    "[[key]]": "key.0.name: Field required",
    "[[key]]\nname = 'a'": "key.0.sha256: Field required",
    "[[key]]\nname = 'a'\nkey = 'x'\nsha256 = 'y'": "give key or sha256, not both",
    "[[key]]\nname = 'a'\nkey = ''": "a key is visible ASCII without spaces",
    "[[key]]\nname = 'a'\nkey = 'two words'": "a key is visible ASCII without spaces",
    "[[key]]\nname = 'a'\nkey = 'schlüssel'": "a key is visible ASCII without spaces",
    "[[key]]\nname = 'a'\nkey = 7": "a key is visible ASCII without spaces",
    "[[key]]\nname = 'a'\nsha256 = 'abc'": "key.0.sha256: String should match pattern",
    "[[key]]\nname = 'two words'\nkey = 'x'": "key.0.name: String should match pattern",
    "[[key]]\nname = 'a'\nkey = 'x'\nrate = 1": "key.0.rate: Extra inputs are not permitted",
    "[[keys]]\nname = 'a'\nkey = 'x'": "keys: Extra inputs are not permitted",
    "[[key]]\nname = 'a'\nkey = 'x'\n[[key]]\nname = 'a'\nkey = 'y'": "key a: the name is there twice",
    "[[key]]\nname = 'a'\nkey = 'x'\n[[key]]\nname = 'b'\nkey = 'x'": "key b: another name has the same key",
    "[[key]]\nname = 'a'\nkey = 'x'\nmax_in_flight = 0": "key.0.max_in_flight: Input should be greater than",
    "[[key]]\nname = 'a'\nkey = 'x'\nrequests_per_minute = 0": "key.0.requests_per_minute: Input should be greater",
    "[[key]]\nname = 'a'\nkey = 'x'\nrequests_per_minute = nan": "key.0.requests_per_minute: Input should be a finite",
    "[[key]]\nname = 'a'\nkey = 'x'\nmax_keep_ratio = 1.5": "key.0.max_keep_ratio: Input should be less than or equal",
    "[[key]]\nname = 'a'\nkey = 'x'\nmin_keep_ratio = 0.5\nmax_keep_ratio = 0.4": "min_keep_ratio must not exceed",
    "[[key]]\nname = 'a'\nkey = 'x'\nmax_keep_ratio = 0.04": "key a: no keep ratio is left within the server's own",
    "[[key]": "not TOML",
    "\xff": "not UTF-8",
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.toml"


@pytest.mark.parametrize("content", BAD)
def test_a_bad_file_says_what_is_wrong(file: Path, content: str) -> None:
    file.write_bytes(content.encode("latin-1" if content == "\xff" else "utf-8"))
    with pytest.raises(BadKeys) as problem:
        read_keys(file, Settings())
    assert BAD[content] in str(problem.value)
    assert str(file) in str(problem.value) or "key " in str(problem.value)


def test_a_message_about_a_key_never_holds_it(file: Path) -> None:
    file.write_text("[[key]]\nname = 'a'\nkey = 'the-secret'\nmax_in_flight = 'x'\n[[key]]\nkey = 'the-secret two'\n")
    with pytest.raises(BadKeys) as problem:
        read_keys(file, Settings())
    assert "the-secret" not in str(problem.value)


@pytest.mark.parametrize("missing", [True, False])
def test_the_server_does_not_start_with_a_bad_file(
    file: Path, missing: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if not missing:
        file.write_text("[[key]]\nname = 'a'\n")
    monkeypatch.setenv("SPPRUNER_API_KEYS_FILE", "")  # so that what the flag sets is undone
    try:
        with pytest.raises(SystemExit) as end:
            parse(["some/model", "--api-keys-file", str(file)])
    finally:
        monkeypatch.undo()
        settings.cache_clear()
    assert end.value.code == 2
    assert f"--api-keys-file: key file {file}: " in capsys.readouterr().err


def test_a_key_is_found_by_what_is_presented_and_by_nothing_else() -> None:
    keys = [Key(name="a", sha256=DIGEST), Key(name="b", sha256=hashlib.sha256(b"secret-of-b").hexdigest())]
    assert [key and key.name for key in (find(keys, [secret]) for secret in (b"secret-of-a", b"secret-of-b"))] == [
        "a",
        "b",
    ]
    assert find(keys, [b"none", b"secret-of-b"]) == keys[1]
    for secret in (b"", b"secret-of-", b"secret-of-aa", DIGEST.encode(), b"a"):
        assert find(keys, [secret]) is None
    assert find(keys, []) is None
    assert find([], [b"secret-of-a"]) is None


def test_keys_come_from_everywhere_and_one_given_twice_is_that_of_the_file(file: Path) -> None:
    file.write_text(f"[[key]]\nname = 'a'\nsha256 = '{DIGEST}'\nmax_in_flight = 3\n")
    ring = KeyRing(Settings(api_keys_file=file, api_keys="one, two,"), ["secret-of-a", "three"])
    assert ring
    found = {secret: ring.find([secret.encode()]) for secret in ("secret-of-a", "one", "two", "three", "four")}
    names = {secret: key and key.name for secret, key in found.items()}
    assert names == {
        "secret-of-a": "a",
        "one": "environment-1",
        "two": "environment-2",
        "three": "api-key-2",
        "four": None,
    }
    assert found["secret-of-a"] is not None
    assert found["secret-of-a"].max_in_flight == 3


def test_without_keys_the_ring_is_empty() -> None:
    assert not KeyRing(Settings())


def test_settings_never_show_the_keys() -> None:
    assert "hidden-one" not in repr(Settings(api_keys="hidden-one"))


def test_the_processes_of_a_server_count_a_keys_rate_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    one, other = SharedRates(), SharedRates()
    a_minute = 1 / 3600  # one in sixty hours: none comes back while this test runs
    assert one.wait(DIGEST, a_minute) == 0.0
    assert 0 < other.wait(DIGEST, a_minute) <= 3600 * 60
    assert other.wait(hashlib.sha256(b"another").hexdigest(), a_minute) == 0.0


@pytest.mark.parametrize("shared", [True, False])
def test_a_key_may_ask_for_a_minutes_worth_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: bool
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path) if shared else "")
    rates = SharedRates()
    waits = [rates.wait(DIGEST, 600) for _ in range(600)]
    assert waits == [0.0] * 600


def test_an_empty_path_is_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPPRUNER_API_KEYS_FILE", "")
    assert Settings().api_keys_file is None


def test_vllms_own_keys_may_be_anything_that_vllm_takes() -> None:
    assert KeyRing(Settings(), ["two words"]).find([b"two words"]) is not None


def test_a_table_of_another_clock_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of the operator's outlives the machine's start, where the clock begins anew."""
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert SharedRates().wait(DIGEST, 1 / 3600) == 0.0
    assert SharedRates().wait(DIGEST, 1 / 3600) > 0
    monkeypatch.setattr("time.monotonic", lambda: 1.0)
    assert SharedRates().wait(DIGEST, 1 / 60) == 0.0
