"""A whole dashboard: rows of panels laid out left to right, the variables, and the links to its siblings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from .panels import DATASOURCE, Json, Panel

COLUMNS: Final = 24
TAG: Final = "sppruner"
SCHEMA: Final = 39
"""Grafana's schema of version 11; later versions bring it up to date when they load it."""

_ROW_HEIGHT: Final = 1


@dataclass(frozen=True, slots=True)
class Row:
    """A titled group of panels."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One dashboard.

    uid: part of its address: never change it.
    description: shown beside the title.
    """

    uid: str
    title: str
    description: str
    rows: tuple[Row, ...]

    @property
    def file_name(self) -> str:
        return f"{self.uid.removeprefix(f'{TAG}-')}.json"

    def as_json(self, siblings: Sequence[Dashboard]) -> Json:
        """Grafana's JSON of the dashboard.

        Args:
            siblings: dashboards to link to; itself is left out.
        """
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": [TAG],
            "schemaVersion": SCHEMA,
            "editable": True,
            "graphTooltip": 1,  # one crosshair over all panels
            "timezone": "browser",
            "time": {"from": "now-1h", "to": "now"},
            "refresh": "30s",
            "annotations": {"list": []},
            "links": [_link(other) for other in siblings if other.uid != self.uid],
            "templating": {"list": variables()},
            "panels": _placed(self.rows),
        }


def _placed(rows: Sequence[Row]) -> list[Json]:
    placed: list[Json] = []
    y = 0
    for row in rows:
        place = {"h": _ROW_HEIGHT, "w": COLUMNS, "x": 0, "y": y}
        head = {"id": len(placed) + 1, "type": "row", "title": row.title, "collapsed": False, "gridPos": place}
        placed.append({**head, "panels": []})
        y, x, height = y + _ROW_HEIGHT, 0, 0
        for panel in row.panels:
            if x + panel.width > COLUMNS:
                y, x, height = y + height, 0, 0
            placed.append(panel.as_json(len(placed) + 1, x, y))
            x, height = x + panel.width, max(height, panel.height)
        y += height
    return placed


def _link(other: Dashboard) -> Json:
    return {
        "type": "link",
        "title": other.title,
        "tooltip": other.description,
        "url": f"/d/{other.uid}",
        "icon": "dashboard",
        "tags": [],
        "asDropdown": False,
        "includeVars": True,
        "keepTime": True,
        "targetBlank": False,
    }


def variables() -> list[Json]:
    """What the reader of a dashboard chooses: where the data is, and which servers and models to see."""
    return [
        {
            "type": "datasource",
            "name": "datasource",
            "label": "Data source",
            "query": "prometheus",
            "regex": "",
            "refresh": 1,
            "multi": False,
            "includeAll": False,
            "hide": 0,
        },
        _choice("job", "Job", "label_values(sppruner_build_info, job)"),
        _choice("instance", "Instance", 'label_values(sppruner_build_info{job=~"$job"}, instance)'),
        _choice(
            "model_name",
            "Model",
            'label_values(vllm:num_requests_running{job=~"$job",instance=~"$instance"}, model_name)',
        ),
    ]


def _choice(name: str, label: str, query: str) -> Json:
    return {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": f"{name}-values", "qryType": 1},
        "refresh": 2,
        "sort": 1,
        "regex": "",
        "multi": True,
        "includeAll": True,
        "allValue": ".+",
        "current": {"text": ["All"], "value": ["$__all"]},
        "hide": 0,
    }
