"""Renders the chart with sets of values, for the tests of what it makes."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml
from helm_python import Chart

HELM = Path(__file__).resolve().parents[2] / "deploy" / "helm"
CHART = HELM / "sppruner-vllm"
RELEASE = "mine"

EVERYTHING: dict[str, Any] = {
    "device": "gpu",
    "model": "Qwen/Qwen2.5-VL-7B-Instruct",
    "args": ["--max-model-len", "8192"],
    "env": [{"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}}}],
    "apiKey": {"value": "not-to-be-seen"},
    "gpu": {"count": 2},
    "cache": {"persistent": True, "storageClassName": "shared"},
    "networkPolicy": {"from": [{"namespaceSelector": {}}], "metricsFrom": [{"podSelector": {}}]},
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "prometheusRule": {"enabled": True},
    "dashboards": {"enabled": True},
    "autoscaling": {"enabled": True},
    "nodeSelector": {"pool": "gpu"},
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
    "podAnnotations": {"team": "vision"},
    "securityContext": {"runAsUser": None},
    "image": {"pullSecrets": [{"name": "registry"}]},
}
SETS: dict[str, dict[str, Any]] = {"default": {}, "everything": EVERYTHING}


@cache
def _rendered(name: str) -> list[dict[str, Any]]:
    return render(SETS[name])


def objects(name: str) -> dict[str, dict[str, Any]]:
    """Kind to object, of a set of values; a kind occurs once."""
    made = {thing["kind"]: thing for thing in _rendered(name)}
    assert len(made) == len(_rendered(name))
    return made


def render(values: dict[str, Any]) -> list[dict[str, Any]]:
    """The objects that the chart makes of some values."""
    rendered = Chart.load(CHART).render(values, name=RELEASE, namespace="serving")
    texts = [text for path, text in sorted(rendered.items()) if path.endswith(".yaml")]
    return [thing for text in texts for thing in yaml.safe_load_all(text) if thing]
