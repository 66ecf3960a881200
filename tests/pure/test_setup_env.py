"""The set-up script's decisions, and the torchvision fix it installs."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "deploy" / "requirements-cpu.lock").read_text()


@pytest.fixture(scope="module")
def setup_env():
    spec = importlib.util.spec_from_file_location("setup_env", ROOT / "deploy" / "setup_env.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_same_inputs_have_the_same_fingerprint(setup_env, tmp_path):
    (tmp_path / "lock").write_text("a==1")
    inputs = (tmp_path / "lock",)
    assert setup_env.fingerprint(inputs, "3.11") == setup_env.fingerprint(inputs, "3.11")


def test_a_changed_file_changes_the_fingerprint(setup_env, tmp_path):
    lock = tmp_path / "lock"
    lock.write_text("a==1")
    before = setup_env.fingerprint((lock,))
    lock.write_text("a==2")
    assert setup_env.fingerprint((lock,)) != before


def test_another_python_changes_the_fingerprint(setup_env):
    assert setup_env.fingerprint((), "3.11") != setup_env.fingerprint((), "3.12")


def test_no_stamp_means_set_up_is_due(setup_env, tmp_path):
    assert not setup_env.is_current(tmp_path / "stamp", "abc")


def test_a_matching_stamp_means_nothing_to_do(setup_env, tmp_path):
    (tmp_path / "stamp").write_text("abc")
    assert setup_env.is_current(tmp_path / "stamp", "abc")


def test_an_older_stamp_means_set_up_is_due(setup_env, tmp_path):
    (tmp_path / "stamp").write_text("older")
    assert not setup_env.is_current(tmp_path / "stamp", "abc")


def test_a_pin_is_found_by_its_whole_name(setup_env):
    assert setup_env.pinned("torchvision==0.28.0\ntorch==2.13.0\n", "torch") == "2.13.0"


def test_a_missing_pin_is_an_error(setup_env):
    with pytest.raises(LookupError):
        setup_env.pinned("torchvision==0.28.0\n", "torch")


def test_every_package_of_the_lock_is_pinned_exactly():
    lines = [line for line in LOCK.splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!]+", line)] == []


def test_the_lock_leaves_out_packages_built_for_cuda():
    names = {line.partition("==")[0] for line in LOCK.splitlines()}
    assert names.isdisjoint({"torchaudio", "torchcodec", "triton"})


def test_starting_python_does_not_load_torch():
    code = "import sys; raise SystemExit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_torchvision_transforms_work_beside_cpu_torch():
    code = (
        "import torch, torchvision.transforms.v2.functional as f\n"
        "raise SystemExit(f.resize(torch.zeros(3, 4, 4), [2, 2]).shape != (3, 2, 2))"
    )
    assert subprocess.run([sys.executable, "-W", "error", "-c", code], check=False).returncode == 0


def test_installing_the_fix_twice_is_silent():
    code = (
        "import importlib, sys, _sppruner_torchvision_shim as shim\n"
        "importlib.reload(shim).install()\n"
        "import torchvision\n"
        "importlib.reload(shim).define_missing_operators()\n"
    )
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], check=False, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
