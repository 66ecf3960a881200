"""Where the set-up takes Prometheus from, with stand-ins for apt on the PATH."""

from __future__ import annotations

import importlib.util

import pytest
from rulebook import SHIPPED

WORKS = 'echo "$@" >> "$LOG"; case "$*" in *"download prometheus") touch prometheus_1_all.deb;; esac'
FAILS_WITHOUT_OWN_LISTS = f'case "$*" in *Lists=*) {{ {WORKS}; }};; *) echo "E: no lists" >&2; exit 100;; esac'
UNPACKS = 'mkdir -p "$3/usr/bin"; for name in prometheus promtool; do install -m 755 "$2" "$3/usr/bin/$name"; done'


@pytest.fixture
def fetch():
    spec = importlib.util.spec_from_file_location("fetch_prometheus", SHIPPED.parent / "fetch_prometheus.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A way to put shell programs on the PATH, which otherwise has only what they need themselves."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "mkdir", "touch", "install"):
        (folder / name).symlink_to(f"/usr/bin/{name}")
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("LOG", str(tmp_path / "log"))

    def add(**scripts: str) -> None:
        for name, script in scripts.items():
            path = folder / name.replace("_", "-")
            path.write_text(f"#!/usr/bin/sh\n{script}\n")
            path.chmod(0o755)

    add.folder = folder
    return add


def test_programs_on_the_path_are_used_where_they_are(fetch, programs, tmp_path):
    programs(prometheus="", promtool="", apt_get="exit 1", dpkg_deb="exit 1")
    assert fetch.programs(tmp_path / "opt") == programs.folder


def test_a_prometheus_without_promtool_is_not_enough(fetch, programs, tmp_path):
    programs(prometheus="", apt_get=WORKS, dpkg_deb=UNPACKS)
    assert fetch.programs(tmp_path / "opt") == tmp_path / "opt/prometheus/usr/bin"


def test_a_second_run_needs_no_apt(fetch, programs, tmp_path):
    programs(apt_get=WORKS, dpkg_deb=UNPACKS)
    found = fetch.programs(tmp_path / "opt")
    programs(apt_get="exit 1", dpkg_deb="exit 1")
    assert fetch.programs(tmp_path / "opt") == found
    assert [path.name for path in (tmp_path / "opt").iterdir()] == ["prometheus"]


def test_package_lists_of_its_own_are_read_where_the_systems_do_not_do(fetch, programs, tmp_path):
    programs(apt_get=FAILS_WITHOUT_OWN_LISTS, dpkg_deb=UNPACKS)
    assert fetch.programs(tmp_path / "opt") == tmp_path / "opt/prometheus/usr/bin"
    assert [line.split()[-1] for line in (tmp_path / "log").read_text().splitlines()] == ["update", "prometheus"]


@pytest.mark.parametrize(
    ("scripts", "told"),
    [
        ({}, "no apt"),
        ({"apt_get": "echo E: no network >&2; exit 100", "dpkg_deb": UNPACKS}, "E: no network"),
        ({"apt_get": WORKS, "dpkg_deb": "echo not an archive >&2; exit 2"}, "not an archive"),
        ({"apt_get": WORKS, "dpkg_deb": 'mkdir -p "$3/usr"'}, "lacks one of prometheus, promtool"),
    ],
    ids=["no apt", "no network", "broken package", "another package"],
)
def test_what_failed_is_told_and_what_to_do(fetch, programs, tmp_path, scripts, told):
    programs(**scripts)
    with pytest.raises(fetch.NotFetched, match=told) as failure:
        fetch.programs(tmp_path / "opt")
    assert "apt-get install prometheus" in str(failure.value)
