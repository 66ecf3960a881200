"""Panels: what each kind of Grafana panel needs to be readable, in Grafana's own words.

A Panel is only a description and its JSON body; `layout` gives it a place and an id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from .families import families_in

Json = dict[str, Any]

DATASOURCE: Final[Json] = {"type": "prometheus", "uid": "${datasource}"}

GREEN: Final = "green"
ORANGE: Final = "orange"
RED: Final = "red"


@dataclass(frozen=True, slots=True)
class Query:
    """One query of a panel.

    expr: PromQL with Grafana's variables.
    legend: how its series are named; `{{label}}` stands for a label's value.
    instant: evaluate once, at the end of the time range.
    shape: Grafana's format: time_series, heatmap or table.
    """

    expr: str
    legend: str
    instant: bool = False
    shape: str = "time_series"


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel without its place.

    kind: Grafana's panel type.
    unit: Grafana's unit id.
    no_data: shown when no query has a sample.
    worry, alarm: values from which it turns orange and red; None for a panel that judges nothing.
    width, height: in Grafana's grid of 24 columns.
    colors: of series by their name; the others get the next colour of Grafana's palette.
    options, custom, fields: Grafana's panel options, custom field options and further field options.
    """

    kind: str
    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    no_data: str
    width: int
    height: int
    worry: float | None = None
    alarm: float | None = None
    colors: Mapping[str, str] | None = None
    options: Mapping[str, Any] | None = None
    custom: Mapping[str, Any] | None = None
    fields: Mapping[str, Any] | None = None
    transformations: tuple[Json, ...] = ()

    @property
    def families(self) -> list[str]:
        """The families its queries read, as /metrics names them, in order of appearance."""
        return list(dict.fromkeys(name for query in self.queries for name in families_in(query.expr)))

    def as_json(self, number: int, x: int, y: int) -> Json:
        """Grafana's JSON of the panel.

        Args:
            number: id, unique in the dashboard.
            x, y: upper left corner in the grid.
        """
        fields: Json = {
            "unit": self.unit,
            "noValue": self.no_data,
            "thresholds": {"mode": "absolute", "steps": self._steps()},
            **(self.fields or {}),
        }
        if self.custom:
            fields["custom"] = dict(self.custom)
        names = ", ".join(f"`{name}`" for name in self.families)
        body: Json = {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": f"{self.description}\n\nFamilies: {names}",
            "datasource": DATASOURCE,
            "gridPos": {"h": self.height, "w": self.width, "x": x, "y": y},
            "fieldConfig": {"defaults": fields, "overrides": [_colored(*pair) for pair in (self.colors or {}).items()]},
            "options": dict(self.options or {}),
            "targets": [_target(query, index) for index, query in enumerate(self.queries)],
        }
        if self.transformations:
            body["transformations"] = list(self.transformations)
        return body

    def _steps(self) -> list[Json]:
        steps: list[Json] = [{"color": GREEN, "value": None}]
        for color, value in ((ORANGE, self.worry), (RED, self.alarm)):
            if value is not None:
                steps.append({"color": color, "value": value})
        return steps


def _colored(series: str, color: str) -> Json:
    painted = {"id": "color", "value": {"mode": "fixed", "fixedColor": color}}
    return {"matcher": {"id": "byName", "options": series}, "properties": [painted]}


def _target(query: Query, index: int) -> Json:
    return {
        "refId": chr(ord("A") + index),
        "datasource": DATASOURCE,
        "editorMode": "code",
        "expr": query.expr,
        "legendFormat": query.legend,
        "format": query.shape,
        "instant": query.instant,
        "range": not query.instant,
    }


def stat(title: str, description: str, unit: str, query: Query, no_data: str, *, width: int = 4, **more: Any) -> Panel:
    """One large number; a query over time also gets a small curve behind it."""
    judged = more.get("worry") is not None or more.get("alarm") is not None
    options = {
        "colorMode": "value" if judged else "none",
        "graphMode": "none" if query.instant else "area",
        "justifyMode": "auto",
        "orientation": "auto",
        "percentChangeColorMode": "standard",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "showPercentChange": False,
        "textMode": "value",
        "wideLayout": True,
    }
    silent = {"type": "special", "options": {"match": "nan", "result": {"text": no_data, "index": 0}}}
    fields = {"mappings": [silent], "color": {"mode": "thresholds"}, **more.pop("fields", {})}
    return Panel("stat", title, description, unit, (query,), no_data, width, 4, options=options, fields=fields, **more)


def curves(
    title: str,
    description: str,
    unit: str,
    queries: Sequence[Query],
    no_data: str,
    *,
    width: int = 8,
    stacked: bool = False,
    stepped: bool = False,
    top: float | None = None,
    **more: Any,
) -> Panel:
    """Curves over time, from zero upwards.

    Args:
        stacked: areas on top of one another, for parts of a whole.
        stepped: for settings, which hold until they change.
        top: upper end of the axis, None to fit the data.
        more: further fields of Panel.
    """
    judged = more.get("worry") is not None or more.get("alarm") is not None
    custom = {
        "drawStyle": "line",
        "lineInterpolation": "stepAfter" if stepped else "linear",
        "lineWidth": 1,
        "fillOpacity": 40 if stacked else 8,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if judged else "off"},
        "axisSoftMin": 0,
    }
    options = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    fields: Json = {"min": 0, "color": {"mode": "palette-classic"}}
    if top is not None:
        fields["max"] = top
    return Panel(
        "timeseries",
        title,
        description,
        unit,
        tuple(queries),
        no_data,
        width,
        8,
        custom=custom,
        options=options,
        fields=fields,
        **more,
    )


def heat_map(title: str, description: str, unit: str, query: Query, no_data: str, *, width: int = 12) -> Panel:
    """A histogram over time: the darker a cell, the more observations fell into its bucket.

    Args:
        unit: of the observed values, which are the rows.
    """
    options = {
        "calculate": False,
        "cellGap": 1,
        "cellValues": {"unit": "short", "decimals": 0},
        "color": {
            "mode": "scheme",
            "scheme": "Blues",
            "fill": "dark-blue",
            "scale": "exponential",
            "exponent": 0.5,
            "steps": 64,
            "reverse": False,
        },
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "rowsFrame": {"layout": "auto"},
        "showValue": "never",
        "tooltip": {"mode": "single", "showColorScale": True, "yHistogram": True},
        "yAxis": {"axisPlacement": "left", "unit": unit, "decimals": 0},
    }
    query = replace(query, shape="heatmap")
    return Panel("heatmap", title, description, unit, (query,), no_data, width, 8, options=options)


def table(
    title: str, description: str, query: Query, no_data: str, columns: Mapping[str, str], *, width: int = 12
) -> Panel:
    """The labels of each series as a row.

    Args:
        columns: label to heading, in order; nothing else is shown.
    """
    shown = {
        "id": "filterFieldsByName",
        "options": {"include": {"names": list(columns)}},
    }
    order = {name: index for index, name in enumerate(columns)}
    named = {"id": "organize", "options": {"indexByName": order, "renameByName": dict(columns), "excludeByName": {}}}
    query = replace(query, instant=True, shape="table")
    options = {"showHeader": True, "cellHeight": "sm", "frameIndex": 0}
    custom = {"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False}
    return Panel(
        "table",
        title,
        description,
        "string",
        (query,),
        no_data,
        width,
        8,
        options=options,
        custom=custom,
        transformations=(shown, named),
    )
