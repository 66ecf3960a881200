"""Gets Prometheus and promtool for the tests of deploy/prometheus, without installing anything on the system.

Those on the PATH are used where they are. Elsewhere Debian's package is downloaded with apt and unpacked under
`.venv/opt`, which needs no root and which `make clean` removes. Prints the folder of the two programs; a second run
finds it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

OPT: Final = Path(__file__).resolve().parent.parent / ".venv" / "opt"
PACKAGE: Final = "prometheus"
PROGRAMS: Final = ("prometheus", "promtool")
WAIT: Final = ("-o", "Acquire::Retries=2", "-o", "Acquire::http::Timeout=20")
HELP: Final = "Put `prometheus` and `promtool` on the PATH (Debian, Ubuntu: apt-get install prometheus)."


class NotFetched(RuntimeError):
    """There is no Prometheus to be had; the message says what to do."""


def programs(opt: Path = OPT) -> Path:
    """The folder of both programs, fetched if need be.

    Raises:
        NotFetched: they are not on the PATH, and apt could not get them.
    """
    unpacked = opt / PACKAGE / "usr" / "bin"
    if _are_in(unpacked):
        return unpacked
    if (found := shutil.which(PACKAGE)) is not None and _are_in(Path(found).parent):
        return Path(found).parent
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise NotFetched(f"This system has no Prometheus and no apt to get it with. {HELP}")
    opt.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{PACKAGE}-", dir=opt) as folder:
        _unpack(_download(Path(folder)), opt / PACKAGE)
    if not _are_in(unpacked):
        raise NotFetched(f"apt's package {PACKAGE} lacks one of {', '.join(PROGRAMS)}. {HELP}")
    return unpacked


def _are_in(folder: Path) -> bool:
    return all(os.access(folder / name, os.X_OK) for name in PROGRAMS)


def _download(folder: Path) -> Path:
    """The package's file. The system's package lists may be missing or old: then a second try reads its own."""
    lists, cache = folder / "lists", folder / "cache"
    (lists / "partial").mkdir(parents=True)
    (cache / "archives" / "partial").mkdir(parents=True)
    own = ("-o", f"Dir::State::Lists={lists}", "-o", f"Dir::Cache={cache}", "-o", "APT::Sandbox::User=root")
    first = _apt(folder, "download", PACKAGE)
    if first is not None:
        complaint = _apt(folder, *own, "update") or _apt(folder, *own, "download", PACKAGE)
        if complaint is not None:
            raise NotFetched(f"apt could not download {PACKAGE}: {complaint}\n{HELP}")
    return next(folder.glob(f"{PACKAGE}_*.deb"))


def _apt(folder: Path, *arguments: str) -> str | None:
    """Run apt-get in a folder; None when it succeeded, else what it said."""
    done = subprocess.run(  # noqa: S603 (our own arguments)
        ["apt-get", *WAIT, *arguments],  # noqa: S607 (the system's apt, wherever it is)
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return None if done.returncode == 0 else done.stderr.strip() or f"status {done.returncode}"


def _unpack(package: Path, target: Path) -> None:
    """Unpack beside the target, then rename: a run that was cut short leaves nothing that looks whole."""
    fresh = package.parent / "unpacked"
    command = ["dpkg-deb", "-x", str(package), str(fresh)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (our own arguments)
    if done.returncode != 0:
        raise NotFetched(f"{package.name} could not be unpacked: {done.stderr.strip()}\n{HELP}")
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)


if __name__ == "__main__":
    try:
        print(programs())
    except NotFetched as failure:
        sys.exit(str(failure))
