"""The proof kit without a server: what a score is, what the tests say, what the report holds."""

from __future__ import annotations

import json
import math
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sppruner_vllm.evaluation.conditions import FULL, Condition, conditions
from sppruner_vllm.evaluation.harness.kept_answers import KeptAnswer, KeptAnswers
from sppruner_vllm.evaluation.harness.vlmevalkit import fields_of
from sppruner_vllm.evaluation.proof.boxes import Boxed, best_unit, overlap
from sppruner_vllm.evaluation.proof.figures import NothingCompared, figures
from sppruner_vllm.evaluation.proof.folder import Folder, Plan
from sppruner_vllm.evaluation.proof.outcomes import Incomplete, Outcome, collect, read_outcomes, write_outcomes
from sppruner_vllm.evaluation.proof.paired import mcnemar, sign_test
from sppruner_vllm.evaluation.proof.published import FIGURES
from sppruner_vllm.evaluation.proof.report import markdown, write_report
from sppruner_vllm.evaluation.proof.sets import STANDARD, mmbench_score, named

OURS, OTHER = Condition("focus_context", 0.222), Condition("downscale", 0.222)
OCRBENCH, MMBENCH, REFCOCO = named(["ocrbench", "mmbench", "refcoco"])


def outcome(unit: int, score: float | None, **more: object) -> Outcome:
    known = Outcome(str(unit), f"content {unit}", f"picture {unit}", score, 100, 23, refused=False)
    return replace(known, **more)


def told(full: list[float], ours: list[float], other: list[float]) -> dict[Condition, list[Outcome]]:
    scores = {FULL: full, OURS: ours, OTHER: other}
    return {one: [outcome(unit, score) for unit, score in enumerate(each)] for one, each in scores.items()}


def test_mcnemar_counts_only_questions_that_differ():
    test = mcnemar(np.array([1, 1, 1, 0, 0.0]), np.array([1, 0, 0, 1, 0.0]))
    assert (test.better, test.worse) == (2, 1)
    assert test.p == pytest.approx(1)


@pytest.mark.parametrize(("better", "worse"), [(0, 0), (5, 0), (9, 3), (3, 9), (40, 60), (700, 500)])
def test_the_sign_test_is_the_binomials_two_tails(better, worse):
    number = better + worse
    tail = sum(math.comb(number, count) for count in range(min(better, worse) + 1)) / 2**number
    assert sign_test(better, worse) == pytest.approx(min(1, 2 * tail), rel=1e-9)


def test_a_graded_score_counts_as_up_or_down():
    assert mcnemar(np.array([0.9, 0.2]), np.array([0.3, 0.1])).better == 2


def test_boxes_overlap_by_their_common_area():
    assert overlap((0, 0, 1, 1), (0, 0, 1, 1)) == 1
    assert overlap((0, 0, 2, 1), (1, 0, 3, 1)) == pytest.approx(1 / 3)
    assert overlap((0, 0, 1, 1), (2, 2, 3, 3)) == 0
    assert overlap((0, 0, 0, 0), (0, 0, 0, 0)) == 0


BOX = (0.25, 0.5, 0.5, 1.0)


@pytest.mark.parametrize(
    ("unit", "said"),
    [("shares", BOX), ("thousandths", (250, 500, 500, 1000)), ("pixels", (160, 240, 320, 480))],
)
def test_the_unit_of_a_models_boxes_is_found_from_whole_pictures(unit, said):
    answer = Boxed(said, BOX, 640, 480, 391, 391)
    assert best_unit([answer]) == unit
    assert answer.found(unit) == 1


def test_pixels_of_a_smaller_picture_are_counted_in_it():
    # 640 x 480 in 23 x 17 tokens; of 44 tokens the smaller picture has 7 x 6.
    said = (0.25 * 640 * 7 / 23, 0.5 * 480 * 6 / 17, 0.5 * 640 * 7 / 23, 480 * 6 / 17)
    answer = Boxed(said, BOX, 640, 480, 391, 44, smaller=True)
    assert answer.found("pixels") == 1
    assert replace(answer, smaller=False).found("pixels") == 0


def test_a_rotated_question_is_right_when_all_its_rotations_are():
    def sample(doc: int, index: int, said: str) -> dict[str, object]:
        told = {"index": index, "answer": "B", "prediction": said, "A": "cat", "B": "dog"}
        return {"doc_id": doc, "gpt_eval_score": told}

    assert [mmbench_score(sample(0, 1, said)) for said in ("B", "B. dog", "dog", "A", "cat")] == [1, 1, 1, 0, 0]
    lines = [sample(0, 7, "B"), sample(1, 1_000_007, "A"), sample(2, 8, "B")]
    answers = {f"t:{doc}": KeptAnswer("", f"t:{doc}", str(doc), "p", "") for doc in range(3)}
    assert [one.score for one in collected(MMBENCH, lines, answers)] == [0, 1]


def collected(standard, lines, answers) -> list[Outcome]:
    with tempfile.TemporaryDirectory() as made:
        file = Path(made) / "samples.jsonl"
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return collect(standard, "t", file, answers)


def test_a_sample_without_an_answer_of_ours_ends_the_run():
    with pytest.raises(Incomplete, match="question 3"):
        collected(OCRBENCH, [{"doc_id": 3, "ocrbench_accuracy": {"score": 1}}], {})


def test_a_box_waits_for_its_unit():
    sample = {"doc_id": 0, "refcoco_IoU": {"pred": [1, 2, 3, 4], "bbox": list(BOX)}}
    answer = KeptAnswer("", "t:0", "k", "p", "", width=640, height=480, original=391, retained=391)
    (one,) = collected(REFCOCO, [sample], {"t:0": answer})
    assert (one.score, one.said, one.right, one.width) == (None, [1, 2, 3, 4], list(BOX), 640)


def test_answers_are_kept_by_run_and_question(tmp_path):
    file = tmp_path / "answers.jsonl"
    answer = KeptAnswer("run", "task:1", "key", "p", "red", refused=None)
    KeptAnswers(file, "run").add(answer)
    with file.open("ab") as cut:
        cut.write(b'{"run": "run", "label": "task:2", "te')  # killed while it wrote
    again = KeptAnswers(file, "run")
    assert again.get("task:1", "key") == answer
    assert again.get("task:2", "key") is None
    assert again.get("task:1", "other") is None
    assert KeptAnswers(file, "another").get("task:1", "key") is None
    again.add(replace(answer, label="task:3"))
    assert KeptAnswers(file, "run").get("task:3", "key") is not None


def test_outcomes_of_another_run_do_not_count(tmp_path):
    file = tmp_path / "made" / "set.json"
    write_outcomes(file, "run", [outcome(1, 0.5)])
    assert read_outcomes(file, "run") == [outcome(1, 0.5)]
    assert read_outcomes(file, "another") is None
    assert read_outcomes(tmp_path / "none.json", None) is None


def test_sets_are_compared_question_by_question():
    found = figures({OCRBENCH: told([1] * 8, [1] * 7 + [0], [0] * 8)}, [FULL, OURS, OTHER], ["downscale"], 1000)
    (one,) = found.sets
    assert one.accuracy[OURS].value == pytest.approx(7 / 8)
    assert found.mean[OURS].value == pytest.approx(7 / 8)
    versus = one.versus[OURS, "downscale"]
    assert (versus.test.better, versus.test.worse) == (7, 0)
    assert versus.test.p == pytest.approx(2 / 2**7)
    assert versus.difference.verdict == "win"
    assert one.tokens[OURS] == 23


def test_the_mean_counts_sets_alike_and_leaves_out_those_without_an_answer():
    big = told([1] * 30, [1] * 30, [0] * 30)
    small = told([1, 1], [0, 1], [0, 0])
    none = told([0, 0], [0, 0], [0, 0])
    found = figures(dict(zip(STANDARD, (big, small, none), strict=False)), [FULL, OURS, OTHER], ["downscale"], 1000)
    assert found.mean[OURS].value == pytest.approx(0.75)
    assert found.unanswered == (STANDARD[2].name,)


def test_a_question_refused_once_counts_nowhere():
    whole = told([1, 1, 1], [1, 1, 0], [0, 0, 0])
    whole[OTHER][2] = replace(whole[OTHER][2], refused=True)
    (one,) = figures({OCRBENCH: whole}, [FULL, OURS, OTHER], ["downscale"], 1000).sets
    assert (one.questions, one.refused, one.accuracy[OURS].value) == (2, 1, 1)


def test_nothing_asked_is_no_report():
    with pytest.raises(NothingCompared):
        figures({}, [FULL, OURS], [], 1000)


PLAN = Plan("some/model", ("OCRBench",), ("focus_context", "downscale"), (0.222,), None, {"run": "key"})


def test_the_report_shows_scores_tests_and_what_others_published(tmp_path):
    wanted = conditions(PLAN.methods, PLAN.ratios)
    found = figures({OCRBENCH: told([1] * 8, [1] * 7 + [0], [0] * 8)}, wanted, ["downscale"], 1000)
    file = write_report(tmp_path, PLAN, found)
    text = file.read_text()
    assert text == markdown(PLAN, found)
    assert "| focus_context | 0.222 | 87.5" in text
    assert "## Against downscale at equal tokens" in text
    assert "(0.016)" in text
    assert "| SIEVE | 22.2 | 98.9 |" in text
    assert "| SIEVE | 10 |" not in text  # no ratio of this run is near
    assert (tmp_path / "proof.png").stat().st_size > 10_000
    assert json.loads((tmp_path / "report.json").read_text())["sets"][0]["questions"] == 8


def test_a_folder_remembers_its_plan(tmp_path):
    folder = Folder(tmp_path / "run")
    assert folder.read_plan() is None
    folder.write_plan(PLAN)
    assert folder.read_plan() == PLAN


def test_published_figures_are_shares_with_a_source():
    assert all(0 < one.relative <= 100 and 0 < one.kept < 100 and len(one.table) > 10 for one in FIGURES)


def test_a_set_that_is_not_known_is_refused_by_name():
    with pytest.raises(ValueError, match="no set mme; choose of OCRBench"):
        named(["mme", "POPE"])


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("sppruner", {"keep_ratio": None, "reduction_method": None}),
        ("sppruner@0.222", {"keep_ratio": 0.222, "reduction_method": None}),
        ("sppruner@0.111+maxmin", {"keep_ratio": 0.111, "reduction_method": "maxmin"}),
        ("GPT4o", None),
    ],
)
def test_a_model_of_vlmevalkit_is_named_after_its_fields(name, fields):
    assert fields_of(name) == fields


def test_a_name_that_means_nothing_is_refused():
    with pytest.raises(ValueError, match="sppruner@half"):
        fields_of("sppruner@half")
