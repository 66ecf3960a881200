"""Gets Debian's Chromium and its driver for the tests of the playground, without installing anything on the system.

Those on the PATH are used where they are. Elsewhere the packages, and those that they need and the system lacks, are
downloaded with apt and unpacked under `.venv/opt`, which needs no root and which `make clean` removes: 110 MB. Prints
the two programs, one a line; a second run finds them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

OPT: Final = Path(__file__).resolve().parent.parent / ".venv" / "opt"
PACKAGES: Final = ("chromium", "chromium-driver")
WAIT: Final = ("-o", "Acquire::Retries=2", "-o", "Acquire::http::Timeout=20")
HELP: Final = "Put `chromium` and `chromedriver` on the PATH (Debian: apt-get install chromium chromium-driver)."


class NotFetched(RuntimeError):
    """There is no Chromium to be had; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Chromium:
    """browser, driver: the programs. libraries: folders of what they need and the system lacks."""

    browser: Path
    driver: Path
    libraries: tuple[Path, ...] = ()


def found(opt: Path = OPT) -> Chromium | None:
    """Chromium where it is there already; nothing is fetched."""
    usr = opt / "chromium" / "usr"
    folders = [folder for one in sorted(usr.glob("lib/*-linux-gnu")) for folder in (one, *sorted(one.glob("*/")))]
    unpacked = Chromium(usr / "lib/chromium/chromium", usr / "bin/chromedriver", tuple(folders))
    if os.access(unpacked.browser, os.X_OK) and os.access(unpacked.driver, os.X_OK):
        return unpacked
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    return Chromium(Path(browser), Path(driver)) if browser and driver else None


def fetched(opt: Path = OPT) -> Chromium:
    """Chromium, downloaded if need be.

    Raises:
        NotFetched: it is not on the PATH, and apt could not get it.
    """
    if (there := found(opt)) is not None:
        return there
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise NotFetched(f"This system has no Chromium and no apt to get it with. {HELP}")
    opt.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="chromium-", dir=opt) as folder:
        unpacked = Path(folder) / "unpacked"
        for package in _download(Path(folder)):
            _run(["dpkg-deb", "-x", str(package), str(unpacked)], Path(folder))
        target = opt / "chromium"
        shutil.rmtree(target, ignore_errors=True)
        unpacked.rename(target)  # at once: a run that was cut short leaves nothing that looks whole
    there = found(opt)
    if there is None:
        raise NotFetched(f"apt's packages {' and '.join(PACKAGES)} lack their programs. {HELP}")
    return there


def _download(folder: Path) -> list[Path]:
    """The packages' files. The system's package lists may be missing or old: then a second try reads its own."""
    lists, cache = folder / "lists", folder / "cache"
    (lists / "partial").mkdir(parents=True)
    (cache / "archives" / "partial").mkdir(parents=True)
    own = ("-o", f"Dir::State::Lists={lists}", "-o", f"Dir::Cache={cache}", "-o", "APT::Sandbox::User=root")
    try:
        _download_with(folder, ())
    except NotFetched:
        _run(["apt-get", *WAIT, *own, "update"], folder)
        _download_with(folder, own)
    return sorted(folder.glob("*.deb"))


def _download_with(folder: Path, options: tuple[str, ...]) -> None:
    plan = _run(["apt-get", *options, "install", "-s", "--no-install-recommends", *PACKAGES], folder)
    missing = re.findall(r"^Inst (\S+)", plan, re.MULTILINE)
    _run(["apt-get", *WAIT, *options, "download", *(missing or PACKAGES)], folder)


def _run(command: list[str], folder: Path) -> str:
    """What a program says in a folder.

    Raises:
        NotFetched: it failed.
    """
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603 (ours)
    if done.returncode != 0:
        raise NotFetched(f"{' '.join(command[:3])}: {done.stderr.strip() or done.returncode}\n{HELP}")
    return done.stdout


if __name__ == "__main__":
    try:
        programs = fetched()
    except NotFetched as failure:
        sys.exit(str(failure))
    print(programs.browser, programs.driver, sep="\n")
