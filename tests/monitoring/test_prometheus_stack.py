"""The shipped rules on the real Prometheus that scrapes the real server, and what /metrics looks like from there."""

from __future__ import annotations

import re

import pytest
from rulebook import rules, run
from traffic import one_of_each, random_requests, send

from serving import eventually, metric
from sppruner_vllm.metrics.families import FAMILIES

RULES = rules()
SHADOWED = re.compile("shadow", re.IGNORECASE)
"""Rules of what the server of these tests does not do; promtool's tests of the rules have samples for them."""


def exposition(client) -> list[str]:
    return client.get("/metrics").text.splitlines()


def series(client) -> set[str]:
    """The series of /metrics: name and labels of each sample."""
    return {line.rpartition(" ")[0] for line in exposition(client) if line and not line.startswith("#")}


@pytest.fixture(scope="module", autouse=True)
def lately(client, stack) -> None:
    """Requests that the rules' windows of five minutes still hold, however long the tests before these took."""
    send(client, one_of_each(seed=80_000))
    served = metric(client, "sppruner_requests_total")
    assert eventually(lambda: stack.total("sppruner_requests_total") >= served)


def settled(client) -> bool:
    """Whether /metrics says the same twice, but for itself: what follows an answer has been counted by then."""

    def counts() -> list[str]:
        mine = ("process_", "python_", "http_request")  # a scrape is a request too
        return [line for line in exposition(client) if not line.startswith(mine)]

    return counts() == counts()


SAMPLED = [rule for rule in RULES if not SHADOWED.search(rule.name)]


@pytest.mark.parametrize("rule", SAMPLED, ids=[rule.name for rule in SAMPLED])
def test_a_rule_has_a_finite_sample(stack, rule):
    assert eventually(lambda: stack.is_finite(rule.sampled)), stack.query(rule.sampled)


def test_prometheus_evaluates_every_shipped_rule(stack):
    def loaded() -> dict[str, tuple[str, str]]:
        found = [rule for group in stack.get("rules")["groups"] for rule in group["rules"]]
        return {rule["name"]: (rule["health"], rule.get("lastError", "")) for rule in found}

    assert eventually(lambda: set(loaded().values()) == {("ok", "")}), loaded()
    assert loaded().keys() == {rule.name for rule in RULES}


def test_a_rule_names_only_families_that_the_server_shows(client, stack):
    shown = {line.split()[2] for line in exposition(client) if line.startswith("# TYPE ")}
    assert set().union(*(rule.families for rule in RULES)) <= shown
    assert {family.scraped_name for family in FAMILIES} <= shown


def test_the_server_is_scraped_under_its_job_without_a_hitch(stack):
    def targets() -> list[tuple[str, str, str]]:
        found = stack.get("targets")["activeTargets"]
        return [(target["labels"]["job"], target["health"], target["lastError"]) for target in found]

    # A busy machine may take longer for one scrape than this test's short interval allows.
    assert eventually(lambda: targets() == [("sppruner", "up", "")]), targets()


def test_promtool_finds_no_fault_with_our_families(client, promtool, stack):
    names = {family.scraped_name for family in FAMILIES}
    ours = [line for line in exposition(client) if re.match(r"(# (HELP|TYPE) )?sppruner_", line)]
    assert names == {line.split()[2] for line in ours if line.startswith("# TYPE")}
    good, said = run(promtool, "check", "metrics", text="\n".join([*ours, ""]))
    assert (good, said) == (True, "")


def test_every_ratio_band_has_been_served(stack):
    def bands() -> set[str]:
        return {sample.labels["ratio_band"] for sample in stack.query("sppruner_output_tokens_total > 0")}

    assert eventually(lambda: bands() == {"1", "0.5-1", "0.25-0.5", "0.1-0.25", "0-0.1"}), bands()


def test_a_thousand_random_requests_add_no_series(client, stack):
    send(client, one_of_each(seed=70_000))  # whatever the first request of a kind may add is there before the count
    assert eventually(lambda: settled(client))
    before = series(client)
    answers = send(client, random_requests(1000, seed=1), at_a_time=8)
    assert len(answers) == 1000
    assert set(answers) == {200, 400, 404}
    assert series(client) - before == set()
    assert before - series(client) == set()
