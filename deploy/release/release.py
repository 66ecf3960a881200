"""Makes a release into `dist/`: wheel, sdist, bill of materials, checksums. `python deploy/release/release.py`.

Stops where two places state different versions, and where the checkout has changes, unless `--with-changes` says that
it is a try. With --check it looks at the versions alone. Uploading is left to whoever holds the key:
docs/develop/release.md.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sppruner_release import packages, versions
from sppruner_release.licences import UnknownLicence
from sppruner_release.locks import PROJECT, NotInstalled
from sppruner_release.sbom import NotValid, sbom

ROOT: Final = Path(__file__).resolve().parents[2]
CHECKSUMS: Final = "SHA256SUMS"


def release(root: Path, out: Path) -> list[Path]:
    """Fill the folder `out`, which is emptied first; returns its files.

    Raises:
        NotBuilt, NotInstalled, UnknownLicence, NotValid: see there.
    """
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    epoch, version = packages.commit_time(root), versions.project_version(root)
    built = packages.build(root, out, epoch)
    bill = out / f"{PROJECT}-{version}.cdx.json"
    bill.write_text(sbom(root, version, epoch))
    files = [built.sdist, built.wheel, bill]
    sums = out / CHECKSUMS
    sums.write_text("".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files))
    return [*files, sums]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="release.py", description=__doc__)
    parser.add_argument("--check", action="store_true", help="only compare the places that state the version")
    parser.add_argument("--with-changes", action="store_true", help="build although the checkout has changes")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder, emptied first (default: dist)")
    options = parser.parse_args(arguments)
    try:
        if wrong := versions.wrong(ROOT):
            places = "".join(f"\n  {place.place}: {place.version}" for place in wrong)
            sys.exit(f"pyproject.toml says {versions.project_version(ROOT)}, but there is{places}")
        if options.check:
            return
        if not options.with_changes and (changed := packages.changes(ROOT)):
            sys.exit("\n".join(["The checkout has changes; commit them, or try --with-changes:", *changed]))
        for file in release(ROOT, options.out):
            print(file)
    except (packages.NotBuilt, NotInstalled, UnknownLicence, NotValid) as failure:
        sys.exit(str(failure))


if __name__ == "__main__":
    main()
