"""A whole run against a backend that answers by rule: resumption, figures, report."""

from __future__ import annotations

import dataclasses
import json

import pytest
from PIL import Image

from sppruner_vllm.evaluation.asking import Answer, AskingFailed, Manner, Usable
from sppruner_vllm.evaluation.conditions import FULL, Condition, conditions
from sppruner_vllm.evaluation.questions import Picture, Question
from sppruner_vllm.evaluation.records import Store
from sppruner_vllm.evaluation.report import write_report
from sppruner_vllm.evaluation.runner import Run
from sppruner_vllm.evaluation.summary import NothingToReport, summarise

MANNER = Manner()
WANTED = conditions(["sharp", "downscale", "blind"], [0.5, 0.1])


class Rule:
    """Full, downscale and sharp see; sharp reads as well, downscale does not; blind knows nothing."""

    model, stamp, facts = "rule", "", {"backend": "rule"}

    def __init__(self):
        self.asked = []
        self.breaks_at = None

    def usable(self, question, wanted):
        return Usable(list(wanted))

    def ask(self, questions, condition):
        if condition == self.breaks_at:
            raise AskingFailed("broken")
        self.asked += [(condition, question.id) for question in questions]
        return [self._answer(question, condition) for question in questions]

    def _answer(self, question, condition):
        able = condition.method in ("full", "sharp") or (condition.method, question.family) == ("downscale", "see")
        retained = round(100 * condition.ratio)
        return Answer("yes" if able else "no", 100, retained, retained + 9, 0.01 + condition.ratio / 10, 0.2)


def questions(pictures=30):
    return [
        Question(f"{family}-{index}", (Picture(str(index), str(index).encode),), family, ("yes",), family=family)
        for index in range(pictures)
        for family in ("see", "read")
    ]


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "answers.jsonl")


def ask(asker, store, manner=MANNER, wanted=WANTED, **options):
    run = Run(asker, manner, "set", questions(**options), store)
    return run.ask_missing(wanted, lambda *_: None)


def test_every_question_is_asked_once_under_every_condition(store):
    asker = Rule()
    ask(asker, store)
    assert len(asker.asked) == len(set(asker.asked)) == 60 * len(WANTED)


def test_a_second_run_asks_nothing(store):
    ask(Rule(), store)
    again = Rule()
    ask(again, store)
    assert again.asked == []


def test_a_run_that_broke_goes_on_where_it_stopped(store):
    broken, second = Rule(), Rule()
    broken.breaks_at = WANTED[3]
    with pytest.raises(AskingFailed):
        ask(broken, store)
    ask(second, store)
    assert not set(broken.asked) & set(second.asked)
    assert len(broken.asked) + len(second.asked) == 60 * len(WANTED)


def test_a_line_cut_off_by_a_kill_costs_that_line_only(store):
    ask(Rule(), store)
    content = store.path.read_bytes()
    store.path.write_bytes(content[: content.rindex(b'{"kind": "answer"') + 30])
    again = Rule()
    header = ask(again, store)
    assert len(again.asked) == 1
    assert len(store.kept(header.key).records) == 60 * len(WANTED)


@pytest.mark.parametrize("change", [{"seed": 1}, {"max_tokens": 5}, {"instruction": "Briefly."}, {"focus_query": "x"}])
def test_another_way_of_asking_is_another_run(store, change):
    ask(Rule(), store)
    again = Rule()
    ask(again, store, dataclasses.replace(MANNER, **change))
    assert len(again.asked) == 60 * len(WANTED)


def test_a_retrained_model_is_another_run(store):
    ask(Rule(), store)
    again = Rule()
    again.stamp = "new weights"
    ask(again, store)
    assert len(again.asked) == 60 * len(WANTED)


def test_more_questions_only_add_to_what_is_there(store):
    ask(Rule(), store, pictures=10)
    again = Rule()
    ask(again, store, pictures=12)
    assert len(again.asked) == 4 * len(WANTED)


def test_wins_ties_and_losses_are_told_apart(store):
    header = ask(Rule(), store)
    summary = summarise(header, store.kept(header.key), "downscale", 1000)
    sharp, downscale, blind = (summary.at(method, 0.1) for method in ("sharp", "downscale", "blind"))
    assert summary.full.overall.accuracy.value == 1
    assert downscale.overall.relative.value == 0.5
    assert downscale.overall.against is None
    assert sharp.overall.against.verdict == "win"
    assert blind.overall.against.verdict == "loss"
    assert [sharp.families[name].against.verdict for name in ("see", "read")] == ["tie", "win"]
    assert [blind.families[name].against.verdict for name in ("see", "read")] == ["loss", "tie"]
    assert (sharp.retained, sharp.original, summary.groups) == (10, 100, 30)
    assert sharp.ttft == pytest.approx(0.02)
    assert sharp.throughput > 0


def test_only_questions_answered_everywhere_count(store):
    ask(Rule(), store, wanted=[FULL, Condition("sharp", 0.5)], pictures=5)
    header = ask(Rule(), store, wanted=[FULL], pictures=30)
    both = dataclasses.replace(header, methods=("full", "sharp"), ratios=(1.0, 0.5))
    assert summarise(header, store.kept(header.key), "downscale", 1000).complete == 60
    summary = summarise(both, store.kept(header.key), "downscale", 1000)
    assert (summary.complete, summary.asked) == (10, 60)


def test_without_answers_there_is_no_report(store):
    header = ask(Rule(), store, wanted=[FULL])
    never = dataclasses.replace(header, methods=("full", "sharp"), ratios=(1.0, 0.5))
    with pytest.raises(NothingToReport):
        summarise(never, store.kept(header.key), "downscale", 1000)


def test_the_report_is_a_page_a_document_and_plots(store, tmp_path):
    header = ask(Rule(), store)
    write_report(tmp_path, header, store.kept(header.key), "downscale", 1000)
    page = (tmp_path / "report.md").read_text()
    assert "| sharp | 0.1 | +50.0 [" in page
    assert "| win | 1 / 1 / 0 | — |" in page
    assert "| blind | 0.1 | -50.0 [" in page
    document = json.loads((tmp_path / "report.json").read_text())
    assert document["run"]["seed"] == 0
    assert document["rows"][0]["overall"]["accuracy"]["value"] == 1
    for name in ("accuracy", "methods", "families", "speed"):
        with Image.open(tmp_path / f"{name}.png") as plot:
            assert plot.width > 600
        assert f"({name}.png)" in page


def test_a_report_of_the_reference_alone_has_no_plots(store, tmp_path):
    header = ask(Rule(), store, wanted=[FULL])
    write_report(tmp_path, header, store.kept(header.key), "downscale", 1000)
    assert "Only the full image was measured." in (tmp_path / "report.md").read_text()
    assert not list(tmp_path.glob("*.png"))


def test_the_last_header_is_found_again(store):
    header = ask(Rule(), store)
    assert store.last_header() == header


def test_the_reference_comes_first_and_nothing_twice():
    assert conditions(["a", "a"], [1, 0.5, 0.5]) == [FULL, Condition("a", 0.5)]


def test_a_scope_is_asked_for_where_something_is_reduced():
    manner = Manner(focus_scope="image")
    assert manner.fields(FULL) == {"keep_ratio": 1.0}
    assert manner.fields(Condition("dpp", 0.5))["focus_scope"] == "image"
    assert manner.fields(Condition("dpp", 0.5), "the sign")["focus_query"] == "the sign"
    assert manner.fields(FULL, "the sign") == {"keep_ratio": 1.0}


def test_a_focus_query_steers_reduced_questions_only():
    manner = Manner(focus_query="the sky")
    assert manner.fields(FULL) == {"keep_ratio": 1.0}
    assert manner.fields(Condition("dpp", 0.5)) == {
        "keep_ratio": 0.5,
        "reduction_method": "dpp",
        "focus_query": "the sky",
    }
