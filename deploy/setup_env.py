"""Makes `.venv` in the checkout: locked CPU packages, this project, a fix for torchvision, Prometheus for the tests.

Needs nothing but Python 3.11 or newer with ensurepip. A second run finds a stamp and does nothing.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
ENVIRONMENT: Final = ROOT / ".venv"
LOCK: Final = ROOT / "deploy" / "requirements-cpu.lock"
SHIM: Final = ROOT / "deploy" / "_sppruner_torchvision_shim.py"
PROMETHEUS: Final = ROOT / "deploy" / "fetch_prometheus.py"
INPUTS: Final = (LOCK, SHIM, Path(__file__), ROOT / "pyproject.toml")

TORCH_CPU_INDEX: Final = "https://download.pytorch.org/whl/cpu"
"""PyTorch's public index: asked only when the configured one has no CPU build."""


def fingerprint(files: tuple[Path, ...], *facts: str) -> str:
    """SHA-256 over file contents and facts, in hex: what an environment was made from.

    Args:
        files: in a fixed order; their names do not count.
        facts: whatever else makes an environment useless when it changes.
    """
    digest = hashlib.sha256()
    for part in (*(file.read_bytes() for file in files), *(fact.encode() for fact in facts)):
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()


def is_current(stamp: Path, expected: str) -> bool:
    """Whether an earlier set-up ran to its end from the same inputs."""
    return stamp.is_file() and stamp.read_text() == expected


def pinned(lock: str, package: str) -> str:
    """The version that the lock file's text gives to `package`.

    Raises:
        LookupError: the lock does not name it.
    """
    for line in lock.splitlines():
        name, found, version = line.partition("==")
        if found and name == package:
            return version.strip()
    raise LookupError(f"{package} is not in the lock")


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Two set-ups at once: the second waits, then finds the first one's stamp."""
    cache = ROOT / ".cache"
    cache.mkdir(exist_ok=True)
    with (cache / "setup.lock").open("w") as turnstile:
        fcntl.flock(turnstile, fcntl.LOCK_EX)
        yield


def say(message: str) -> None:
    print(f"==> {message}", flush=True)


def pip(*arguments: str) -> bool:
    """Run the environment's pip, its output going to the user; True when it succeeded."""
    command = [str(ENVIRONMENT / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", *arguments]
    return subprocess.run(command, check=False).returncode == 0  # noqa: S603 (our own arguments)


def make_environment(version: str) -> None:
    """An environment of this Python version; one of another version is replaced."""
    python = ENVIRONMENT / "bin" / "python"
    if python.exists() and (ENVIRONMENT / "lib" / f"python{version}").is_dir():
        return
    say(f"creating .venv with Python {version}")
    try:
        venv.create(ENVIRONMENT, clear=True, with_pip=True)
    except subprocess.CalledProcessError:
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        sys.exit("This Python has no ensurepip. On Debian and Ubuntu: apt-get install python3-venv")


def install_torch(version: str) -> None:
    """The CPU build of torch, from the configured index or else from PyTorch's own.

    Asked for by its local version, because elsewhere the plain number means a CUDA build.
    """
    requirement = f"torch=={version}+cpu"
    say(f"installing {requirement}")
    if pip("install", "--no-deps", requirement):
        return
    say(f"not on the configured index; trying {TORCH_CPU_INDEX}")
    if not pip("install", "--no-deps", "--extra-index-url", TORCH_CPU_INDEX, requirement):
        sys.exit(f"Could not install {requirement}: see pip's message above.")


def install_packages() -> None:
    """The rest of the lock, then this project as an editable install."""
    say(f"installing {LOCK.relative_to(ROOT)} (some 3 GB; a few minutes on the first run)")
    if not pip("install", "--no-deps", "-r", str(LOCK)):
        sys.exit("Could not install the locked packages: see pip's message above.")
    say("installing this project, editable")
    if not pip("install", "--quiet", "--no-deps", "--no-build-isolation", "-e", str(ROOT)):
        sys.exit("Could not install the project: see pip's message above.")


def install_shim(version: str) -> None:
    """Copy the torchvision fix to where every start of the environment's Python loads it."""
    packages = ENVIRONMENT / "lib" / f"python{version}" / "site-packages"
    shutil.copyfile(SHIM, packages / SHIM.name)
    (packages / SHIM.with_suffix(".pth").name).write_text(f"import {SHIM.stem}\n")


def fetch_prometheus() -> None:
    """Prometheus for the tests of the rules; serving does without it, so that a failure is told and left at that."""
    say("fetching Prometheus for the tests, where the system has none")
    subprocess.run([sys.executable, str(PROMETHEUS)], check=False, stdout=subprocess.DEVNULL)  # noqa: S603 (our own)


def main() -> None:
    if sys.version_info < (3, 11):  # noqa: UP036 (whatever the user has)
        sys.exit("Python 3.11 or newer is needed. Name one: make PYTHON=python3.12 setup")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    expected = fingerprint(INPUTS, version, str(ROOT))
    stamp = ENVIRONMENT / "sppruner-setup.sha256"
    if is_current(stamp, expected):
        return
    with one_at_a_time():
        if is_current(stamp, expected):
            return
        make_environment(version)
        install_torch(pinned(LOCK.read_text(), "torch"))
        install_packages()
        install_shim(version)
        fetch_prometheus()
        stamp.write_text(expected)
    say("ready")


if __name__ == "__main__":
    main()
