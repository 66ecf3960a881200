"""Writes what the chart carries of other folders, and the plain manifests that it renders to.

Helm reads no file outside a chart, so rules and dashboards are copied into it; deploy/k8s is the chart with its default
values. `--check` exits with 1 when a file is not current.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from helm_python import Chart

DEPLOY: Final = Path(__file__).resolve().parents[1]
CHART: Final = DEPLOY / "helm" / "sppruner-vllm"
MANIFESTS: Final = DEPLOY / "k8s" / "sppruner-vllm.yaml"
RELEASE: Final = "sppruner-vllm"
SOURCES: Final = {"rules": DEPLOY / "prometheus" / "rules", "dashboards": DEPLOY / "grafana" / "dashboards"}
HEADER: Final = "# The chart of deploy/helm with its default values, for `kubectl apply -f`; written by its sync.py.\n"


def carried() -> dict[Path, str]:
    """Path in the chart to text, of the files that come from elsewhere."""
    return {
        CHART / "files" / folder / file.name: file.read_text()
        for folder, source in SOURCES.items()
        for file in sorted(source.iterdir())
        if file.suffix in {".yml", ".json"}
    }


def manifests() -> str:
    """The chart's default objects as one file."""
    rendered = Chart.load(CHART).render(name=RELEASE, namespace="default")
    objects = [text.strip() for path, text in sorted(rendered.items()) if path.endswith(".yaml") and text.strip()]
    return HEADER + "".join(f"---\n{text}\n" for text in objects)


def stale(files: dict[Path, str]) -> list[Path]:
    """Those of the files that are missing or differ, and what lies beside them without a source."""
    differing = [path for path, text in files.items() if not path.is_file() or path.read_text() != text]
    kept = [path for path in (CHART / "files").rglob("*") if path.is_file()]
    return differing + [path for path in kept if path not in files]


def main(arguments: list[str]) -> None:
    if arguments not in ([], ["--check"]):
        sys.exit("usage: python deploy/helm/sync.py [--check]")
    files = carried()
    if not arguments:
        for path in stale(files):
            path.unlink(missing_ok=True)
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        MANIFESTS.write_text(manifests())
    elif old := stale({**files, MANIFESTS: manifests()}):
        sys.exit("not current: " + ", ".join(sorted(str(path.relative_to(DEPLOY)) for path in old)))


if __name__ == "__main__":
    main(sys.argv[1:])
