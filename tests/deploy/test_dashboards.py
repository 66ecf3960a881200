"""The shipped dashboards are what the generator makes, and keep the rules of Grafana's dashboard linter and ours."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from panels import DEPLOY, GRAFANA, Target, dashboards, filled, panels, targets

import generate  # isort: skip (panels puts its folder on the path)
from sppruner_dashboards import families, limits  # isort: skip
from sppruner_dashboards.dashboard import Dashboard, Row  # isort: skip
from sppruner_dashboards.panels import Query, curves  # isort: skip

UNITS = {"percentunit", "short", "s", "reqps", "ops", "cps", "string", "si:tok/s", "si:B"}
SELECTOR = re.compile(r"(?P<before>\w+\()?(?P<name>[a-zA-Z_:][\w:]*)\{(?P<labels>[^}]*)\}(\[(?P<window>[^\]]+)\])?")

SHIPPED = dashboards()
TARGETS = list(targets())
each_dashboard = pytest.mark.parametrize("dashboard", SHIPPED.values(), ids=SHIPPED)


def selectors() -> Iterator[tuple[Target, re.Match[str]]]:
    """Every selector of every shipped query, with what stands around it."""
    for target in TARGETS:
        found = list(SELECTOR.finditer(target.expr))
        assert len(found) == len(families.samples_in(target.expr)) > 0, str(target)
        yield from ((target, match) for match in found)


@pytest.fixture(scope="module")
def kinds() -> dict[str, str]:
    return families.defined()


def test_check_passes_on_what_is_shipped():
    command = [sys.executable, str(GRAFANA / "generate.py"), "--check"]
    checked = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize("damage", ["changed", "missing", "foreign"])
def test_check_fails_when_a_file_is_not_what_the_program_makes(tmp_path, monkeypatch, capsys, damage):
    for name, text in generate.texts().items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(generate, "FOLDER", tmp_path)
    assert generate.main(["--check"]) == 0
    match damage:
        case "changed":
            (tmp_path / "serving.json").write_text(generate.texts()["serving.json"].replace("p99", "p98", 1))
        case "missing":
            (tmp_path / "serving.json").unlink()
        case "foreign":
            (tmp_path / "another.json").write_text("{}")
    assert generate.main(["--check"]) == 1
    assert ("another" if damage == "foreign" else "serving.json") in capsys.readouterr().err
    assert generate.main([]) == 0
    assert generate.stale(tmp_path, generate.texts()) == (
        ["another.json is no dashboard of ours: run python deploy/grafana/generate.py"] if damage == "foreign" else []
    )


def test_check_fails_when_a_query_names_a_family_that_no_code_defines(kinds):
    panel = curves("Ghost", "None.", "short", [Query('sum (vllm:no_such_family{job=~"$job"})', "ghost")], "Nothing")
    ghost = Dashboard("ghost", "Ghosts", "None.", (Row("Row", (panel,)),))
    assert generate.undefined(generate.DASHBOARDS, kinds) == []
    assert generate.undefined([ghost], kinds) == ["Ghosts, Ghost: no code defines vllm:no_such_family"]


def test_check_fails_when_a_variable_names_a_family_that_no_code_defines(kinds):
    known = {name: kind for name, kind in kinds.items() if name != "sppruner_build_info"}
    assert "variable job: no code defines sppruner_build_info" in generate.undefined([], known)


def test_families_of_vllm_are_found_in_its_source(kinds):
    assert kinds["vllm:time_to_first_token_seconds"] == "histogram"
    assert kinds["vllm:prompt_tokens_total"] == "counter"
    assert kinds["vllm:num_requests_running"] == "gauge"


@each_dashboard
def test_a_panel_says_what_it_shows(dashboard):
    for panel in panels(dashboard):
        asked = dict.fromkeys(name for target in panel["targets"] for name in families.families_in(target["expr"]))
        text, _, named = panel["description"].partition("\n\nFamilies: ")
        defaults = panel["fieldConfig"]["defaults"]
        steps = [step["value"] for step in defaults["thresholds"]["steps"]]
        assert text.endswith("."), panel["title"]
        assert named == ", ".join(f"`{name}`" for name in asked), panel["title"]
        assert defaults["unit"] in UNITS, panel["title"]
        assert defaults["noValue"], panel["title"]
        assert steps == [None, *sorted(steps[1:])], panel["title"]


@each_dashboard
def test_a_panel_names_its_series_and_uses_the_chosen_data_source(dashboard):
    source = {"type": "prometheus", "uid": "${datasource}"}
    for panel in panels(dashboard):
        legends = [target["legendFormat"] for target in panel["targets"]]
        assert all(legends), panel["title"]
        assert len(set(legends)) == len(legends), panel["title"]
        assert [target["refId"] for target in panel["targets"]] == list("ABCDEF"[: len(legends)]), panel["title"]
        sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert all(given == source for given in sources), panel["title"]
        assert panel["type"] != "timeseries" or panel["options"]["legend"]["showLegend"], panel["title"]


def test_every_counter_is_rated_and_no_gauge_is(kinds):
    for target, found in selectors():
        kind = kinds[families.families_in(found.group())[0]]
        rated = found["before"] in {"rate(", "increase("}
        assert rated == (kind != "gauge"), str(target)
        assert rated == (found["window"] is not None), str(target)


def test_a_rate_uses_grafanas_interval_and_only_a_total_the_whole_range():
    allowed = {"rate(": {"$__rate_interval"}, "increase(": {"$__rate_interval", "$__range"}}
    for target, found in selectors():
        assert found["window"] in allowed.get(found["before"], {None}), str(target)


def test_a_query_sees_only_the_chosen_servers_and_models():
    for target, found in selectors():
        matchers = ['job=~"$job"', 'instance=~"$instance"']
        if found["name"].startswith("vllm:"):
            matchers.append('model_name=~"$model_name"')
        assert found["labels"].split(",")[: len(matchers)] == matchers, str(target)


def test_a_quantile_keeps_the_buckets_apart():
    quantiles = [
        (target, inner)
        for target in TARGETS
        for inner in re.findall(r"histogram_quantile\([\d.]+, (.*?\])", target.expr)
    ]
    assert quantiles
    for target, inner in quantiles:
        assert re.match(r"sum by \(le[,)].*_bucket\{", inner), str(target)


def test_a_legend_names_only_labels_that_the_query_keeps():
    for target in TARGETS:
        kept = {label for by in re.findall(r"by \(([^)]*)\)", target.expr) for label in by.split(", ")}
        named = set(re.findall(r"\{\{(\w+)\}\}", target.legend))
        assert named <= kept or "by (" not in target.expr, str(target)


def test_no_variable_is_left_when_a_query_is_sent():
    assert [str(target) for target in TARGETS if "$" in filled(target.expr)] == []


@each_dashboard
def test_a_dashboard_lets_its_reader_choose(dashboard):
    listed = dashboard["templating"]["list"]
    assert [variable["name"] for variable in listed] == ["datasource", "job", "instance", "model_name"]
    assert (listed[0]["type"], listed[0]["query"]) == ("datasource", "prometheus")
    for variable in listed[1:]:
        assert variable["type"] == "query"
        assert variable["datasource"]["uid"] == "${datasource}"
        assert variable["multi"]
        assert variable["includeAll"]
    assert all(variable["label"] for variable in listed)


@each_dashboard
def test_no_panel_lies_on_another_or_beside_the_grid(dashboard):
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        columns = range(place["x"], place["x"] + place["w"])
        cells = set(itertools.product(columns, range(place["y"], place["y"] + place["h"])))
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({y for _, y in taken}) == max(y for _, y in taken) + 1


@each_dashboard
def test_ids_and_titles_are_unique_in_a_dashboard(dashboard):
    ids = [panel["id"] for panel in dashboard["panels"]]
    titles = [panel["title"] for panel in panels(dashboard)]
    assert len(set(ids)) == len(ids)
    assert len(set(titles)) == len(titles)


def test_dashboards_keep_their_addresses_and_link_to_each_other():
    by_uid = {dashboard["uid"]: dashboard for dashboard in SHIPPED.values()}
    assert set(by_uid) == {"sppruner-visual-tokens", "sppruner-serving"}
    for uid, dashboard in by_uid.items():
        assert {link["url"] for link in dashboard["links"]} == {f"/d/{other}" for other in by_uid if other != uid}
        assert all(link["includeVars"] and link["keepTime"] for link in dashboard["links"])
        assert dashboard["tags"] == ["sppruner"]
        assert dashboard["graphTooltip"] == 1
        assert dashboard["title"]
        assert dashboard["description"]


@pytest.mark.parametrize(
    ("file", "rule"),
    [
        ("latency.yml", f'le="{limits.FIRST_TOKEN_SECONDS:g}"'),
        ("requests.yml", f"expr: vector(1 - {1 - limits.ERROR_SHARE:g})"),
        ("requests.yml", f"job:sppruner_rejected:ratio_rate5m > {limits.REJECTED_SHARE:g}"),
        ("capacity.yml", f"job_model:vllm_kv_cache_usage:max > {limits.KV_USAGE:g}"),
        ("capacity.yml", f"avg_over_time(job_model:vllm_num_requests_waiting:sum[5m]) > {limits.WAITING:g}"),
        ("capacity.yml", f"job_model:vllm_num_preemptions:rate5m > {limits.PREEMPTIONS_PER_SECOND:g}"),
        ("reduction.yml", f"job_method:sppruner_selection_seconds:p99_5m > {limits.SELECTION_SECONDS:g}"),
    ],
)
def test_what_a_panel_marks_as_a_worry_is_what_an_alert_fires_on(file, rule):
    assert rule in (DEPLOY / "prometheus" / "rules" / file).read_text()
