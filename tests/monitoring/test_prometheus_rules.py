"""The shipped configuration and rules: valid, right in their unit tests, explained, and about families that exist."""

from __future__ import annotations

import re

import pytest
import yaml
from panels import GRAFANA  # puts the dashboards' program on the path, which knows the families
from rulebook import SHIPPED, judged, rules, run, spoilt

from sppruner_dashboards import families  # isort: skip

RULES = rules()
ALERTS = [rule for rule in RULES if rule.is_alert]
RUNBOOKS = GRAFANA.parents[1] / "docs" / "operate" / "alerts.md"

each_rule = pytest.mark.parametrize("rule", RULES, ids=[rule.name for rule in RULES])
each_alert = pytest.mark.parametrize("alert", ALERTS, ids=[alert.name for alert in ALERTS])


def test_the_configuration_is_valid(promtool):
    good, said = run(promtool, "check", "config", "--lint=all", "--lint-fatal", SHIPPED / "prometheus.yml")
    assert good, said
    assert said.count("rules found") >= len({rule.file for rule in RULES})


@pytest.mark.parametrize("file", sorted({rule.file for rule in RULES}))
def test_the_unit_tests_of_the_rules_pass(promtool, file):
    good, said = run(promtool, "test", "rules", SHIPPED / "tests" / file)
    assert good, said


@each_alert
def test_an_alert_that_never_fires_fails_its_unit_tests(promtool, tmp_path, alert):
    good, _ = run(promtool, "test", "rules", spoilt(alert, f"({alert.expr}) and vector(0) > 1", tmp_path))
    assert not good


@each_alert
def test_an_alert_that_always_fires_fails_its_unit_tests(promtool, tmp_path, alert):
    good, said = run(promtool, "test", "rules", spoilt(alert, judged(alert.expr), tmp_path))
    assert not good
    assert re.search(rf"alertname:\s*{alert.name}\b", said), said


@pytest.mark.parametrize("rule", [r for r in RULES if not r.is_alert], ids=lambda rule: rule.name)
def test_a_recording_that_is_off_fails_its_unit_tests(promtool, tmp_path, rule):
    good, _ = run(promtool, "test", "rules", spoilt(rule, f"({rule.expr}) * 1.5 + 0.01", tmp_path))
    assert not good


@pytest.fixture(scope="module")
def defined() -> set[str]:
    return set(families.defined())


@each_rule
def test_a_rule_names_only_families_that_the_code_defines(rule, defined):
    assert rule.families <= defined


def test_rules_that_name_no_family_build_on_those_that_do():
    recorded = {rule.name for rule in RULES}
    for rule in RULES:
        built_on = {name for name in recorded if name in rule.expr}
        assert rule.families or built_on or rule.expr.startswith(("vector(", "up{")), rule.name


def test_recordings_are_named_by_level_metric_and_operation():
    names = [rule.name for rule in RULES if not rule.is_alert]
    assert [name for name in names if not re.fullmatch(r"[a-z_]+:[a-z0-9_]+:[a-z0-9_]+", name)] == []
    assert len(set(names)) == len(names)


def test_the_alert_for_a_lost_target_watches_the_job_that_is_scraped():
    jobs = [job["job_name"] for job in yaml.safe_load((SHIPPED / "prometheus.yml").read_text())["scrape_configs"]]
    watched = [re.findall(r'job="(\w+)"', alert.expr) for alert in ALERTS if "up{" in alert.expr]
    assert watched == [[job] * 2 for job in jobs]


@each_alert
def test_an_alert_says_how_bad_it_is_what_it_means_and_where_help_is(alert):
    assert alert.labels["severity"] in {"critical", "warning"}
    assert alert.annotations.keys() == {"summary", "description", "runbook"}
    assert alert.annotations["description"].endswith(".")
    assert alert.annotations["runbook"] == f"docs/operate/{RUNBOOKS.name}#{alert.name.lower()}"


def test_every_alert_has_a_runbook_and_every_runbook_an_alert():
    explained = re.findall(r"^### (\w+)$", RUNBOOKS.read_text(), re.MULTILINE)
    assert sorted(explained) == sorted(alert.name for alert in ALERTS)
