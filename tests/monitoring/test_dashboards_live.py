"""Every panel of the shipped dashboards on the real Prometheus that scrapes the real server."""

from __future__ import annotations

import math
import re
import time

import pytest
from panels import dashboards, filled, panels, targets
from panels_data import Window
from panels_draw import draw, save
from stack import INTERVAL

from serving import eventually

from sppruner_dashboards import families  # isort: skip (panels puts its folder on the path)

LONG = "2h"
"""A window with all the traffic in it, however long the tests before this one took."""

SCRAPE_SECONDS = float(INTERVAL.removesuffix("s"))

SHIPPED = dashboards()
each_dashboard = pytest.mark.parametrize("name", SHIPPED)


@each_dashboard
def test_every_query_has_a_finite_sample(stack, name):
    queries = [target for target in targets() if target.dashboard == name]
    silent = queries

    def all_answer() -> bool:
        nonlocal silent
        silent = [target for target in silent if not stack.is_finite(filled(target.expr, interval=LONG, window=LONG))]
        return not silent

    assert queries
    assert eventually(all_answer), [str(target) for target in silent]


@each_dashboard
def test_no_query_names_a_family_that_metrics_lacks(client, stack, name):
    shown = {line.split()[2] for line in client.get("/metrics").text.splitlines() if line.startswith("# TYPE ")}
    named = {
        family
        for panel in panels(SHIPPED[name])
        for target in panel["targets"]
        for family in families.families_in(target["expr"])
    }
    assert named <= shown


@each_dashboard
def test_a_variable_offers_what_there_is_to_choose(stack, name):
    offered = {}
    for variable in SHIPPED[name]["templating"]["list"][1:]:
        series, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"]).groups()
        offered[variable["name"]] = stack.get(f"label/{label}/values", **{"match[]": filled(series)})
    assert offered == {
        "job": ["sppruner"],
        "instance": [stack.server.url.removeprefix("http://")],
        "model_name": ["tiny"],
    }


@each_dashboard
def test_a_choice_of_no_server_leaves_every_panel_empty(stack, name):
    for target in targets():
        if target.dashboard == name:
            assert not stack.is_finite(filled(target.expr, interval=LONG, window=LONG, chosen="nobody")), str(target)


@each_dashboard
def test_every_panel_can_be_drawn_and_shows_something(stack, tmp_path, name):
    began = stack.total(f"min(min_over_time(timestamp(sppruner_build_info)[{LONG}:1s]))")

    def drawn() -> bool:
        nonlocal empty
        window = Window(stack.url, began, time.time(), scrape=SCRAPE_SECONDS)
        figure, empty = draw(SHIPPED[name], window)
        save(figure, tmp_path / "dashboard.png")
        return not empty

    empty = ["not drawn"]
    assert eventually(drawn), empty
    assert (tmp_path / "dashboard.png").read_bytes().startswith(b"\x89PNG")


def test_a_panels_means_are_the_histograms_own(stack):
    """Nothing is lost in selectors, windows or sums."""
    shown = {target.legend: target.expr for target in targets() if target.panel == "Requested against retained"}
    assert list(shown) == ["requested", "retained"]
    for legend, expr in shown.items():
        name = f"sppruner_{legend}_ratio"
        expected = stack.total(f"increase({name}_sum[{LONG}])") / stack.total(f"increase({name}_count[{LONG}])")
        assert math.isclose(stack.total(filled(expr, interval=LONG, window=LONG)), expected, rel_tol=0.05)
