"""Makes `.cache/conformance`: other people's clients and tools, pinned, to try on our server.

Four environments, none of which .venv sees: `clients` (Python), `proxy` (LiteLLM's, over `clients`), `guidellm` (over
.venv, since it wants torch), and `node` (only where node and npm are installed). Run with .venv's Python. A second run
finds stamps and does nothing.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import Final

from setup_env import ROOT, fingerprint, is_current, one_at_a_time, pip, say

FOLDER: Final = ROOT / ".cache" / "conformance"
CLIENTS: Final = FOLDER / "clients"
PROXY: Final = FOLDER / "proxy"
GUIDELLM: Final = FOLDER / "guidellm"
NODE: Final = FOLDER / "node"

CLIENTS_LOCK: Final = ROOT / "deploy" / "requirements-conformance.lock"
PROXY_LOCK: Final = ROOT / "deploy" / "requirements-proxy.lock"
GUIDELLM_LOCK: Final = ROOT / "deploy" / "requirements-guidellm.lock"
NODE_SOURCES: Final = ROOT / "tests" / "conformance" / "node"
NODE_PACKAGES: Final = (NODE_SOURCES / "package.json", NODE_SOURCES / "package-lock.json")
NODE_AT_LEAST: Final = 20

STAMP: Final = "sppruner-setup.sha256"


def install(environment: Path, lock: Path) -> None:
    """Install a lock into an environment, with .venv's pip; its output goes to the user."""
    python = str(environment / "bin" / "python")
    if not pip("--python", python, "install", "--quiet", "--no-deps", "-r", str(lock)):
        sys.exit(f"Could not install {lock.name}: see pip's message above.")


def make_clients() -> None:
    """An environment of its own."""
    venv.create(CLIENTS, clear=True, with_pip=False)
    install(CLIENTS, CLIENTS_LOCK)


def packages_of(environment: Path) -> Path:
    """Where an environment's packages are."""
    (site,) = environment.glob("lib/python*/site-packages")
    return site


def make_over(base: Path, environment: Path, lock: Path) -> None:
    """An environment whose packages come before those of `base`, another one's."""
    venv.create(environment, clear=True, with_pip=False)
    (packages_of(environment) / "base.pth").write_text(f"import site; site.addsitedir({str(base)!r})\n")
    install(environment, lock)


def make_proxy() -> None:
    """LiteLLM itself is among the clients; its proxy wants more than it."""
    make_over(packages_of(CLIENTS), PROXY, PROXY_LOCK)


def missing_node() -> str | None:
    """Why nothing of JavaScript can run here, or None."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return "node and npm are not installed"
    told = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout  # noqa: S603
    version = re.match(r"v(\d+)\.", told)
    if version is None or int(version[1]) < NODE_AT_LEAST:
        return f"node is {told.strip()}, older than {NODE_AT_LEAST}"
    return None


def make_node() -> None:
    """The packages of package-lock.json, in a folder of their own."""
    shutil.rmtree(NODE, ignore_errors=True)
    NODE.mkdir(parents=True)
    for file in NODE_PACKAGES:
        shutil.copy(file, NODE)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    if subprocess.run(command, cwd=NODE, check=False).returncode != 0:  # noqa: S603 (our own arguments)
        sys.exit("Could not install the node packages: see npm's message above.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("names", nargs="*", help="environments to make (default: all)")
    wanted = parser.parse_args().names
    base = Path(sysconfig.get_path("purelib"))
    script = Path(__file__)
    with one_at_a_time():
        for folder, expected, make in (
            (CLIENTS, fingerprint((CLIENTS_LOCK, script), sys.version), make_clients),
            (PROXY, fingerprint((CLIENTS_LOCK, PROXY_LOCK, script), sys.version), make_proxy),
            (
                GUIDELLM,
                fingerprint((GUIDELLM_LOCK, script), sys.version, str(base)),
                lambda: make_over(base, GUIDELLM, GUIDELLM_LOCK),
            ),
            (NODE, fingerprint((*NODE_PACKAGES, script)), make_node),
        ):
            if (wanted and folder.name not in wanted) or is_current(folder / STAMP, expected):
                continue
            if folder == NODE and (reason := missing_node()) is not None:
                say(f"no JavaScript clients: {reason}")
                continue
            say(f"making {folder.relative_to(ROOT)}")
            make()
            (folder / STAMP).write_text(expected)


if __name__ == "__main__":
    main()
