"""A fresh virtual environment that has our wheel, and every locked package without installing 3 GB again.

The packages are links to this environment's, one by one and without what makes this project importable here: its
editable install's finder, its metadata, its `.pth` file.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHIM = ROOT / "deploy" / "_sppruner_torchvision_shim.py"


@dataclass(frozen=True, slots=True)
class Fresh:
    """The environment's folder and its site-packages."""

    folder: Path
    site: Path

    def python(self, *arguments: str, limit: float) -> subprocess.CompletedProcess[str]:
        """Run its Python away from the checkout, in an environment that says nothing of it."""
        ours = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "VLLM_PLUGINS", "PROMETHEUS_MULTIPROC_DIR")
        rest = {
            name: value for name, value in os.environ.items() if name not in ours and not name.startswith("SPPRUNER")
        }
        return subprocess.run(
            [str(self.folder / "bin" / "python"), *arguments],
            cwd=self.folder,
            env=rest,
            check=False,
            capture_output=True,
            text=True,
            timeout=limit,
        )


def fresh_environment(folder: Path, wheel: Path) -> Fresh:
    """Make it in `folder` and install the wheel with pip, which asks no index."""
    packages = folder / "locked"
    packages.mkdir(parents=True)
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if "sppruner" not in entry.name and entry.suffix != ".pth":
            (packages / entry.name).symlink_to(entry)
    environment = folder / "venv"
    venv.create(environment, with_pip=False)
    python = environment / "bin" / "python"
    (site,) = environment.glob("lib/python*/site-packages")
    (site / "locked.pth").write_text(f"{packages}\n")
    shutil.copy(SHIM, site)
    (site / SHIM.with_suffix(".pth").name).write_text(f"import {SHIM.stem}\n")
    install = ["install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", "--python", str(python), *install], check=True, capture_output=True)
    return Fresh(environment, site)
