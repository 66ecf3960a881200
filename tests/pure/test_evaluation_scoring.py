"""Metrics of the evaluation: what counts as right."""

from __future__ import annotations

import pytest

from sppruner_vllm.evaluation.scoring import Metric, edit_distance, first_number, parse_tolerance, score


def right(metric, answer, *answers, **options):
    return score(Metric(metric, **options), answer, answers)


@pytest.mark.parametrize("answer", ["red circle", "Red  Circle.", " RED-circle!\n", "\uff32ed circle"])
def test_exact_looks_past_case_punctuation_and_blanks(answer):
    assert right("exact", answer, "Red circle") == 1


@pytest.mark.parametrize(
    ("answer", "wanted"), [("35", "3.5"), ("3", "-3"), ("a red circle", "red circle"), ("", "red"), ("?", "!")]
)
def test_exact_keeps_what_makes_a_difference(answer, wanted):
    assert right("exact", answer, wanted) == 0


@pytest.mark.parametrize(("answer", "wanted"), [("3.5.", "3.5"), ("1,200", "1200"), ("+", "+")])
def test_exact_reads_numbers_and_signs_as_people_do(answer, wanted):
    assert right("exact", answer, wanted) == 1


def test_any_of_several_answers_is_right():
    assert right("exact", "sofa", "couch", "sofa") == 1


def test_contains_wants_whole_words_in_a_row():
    assert right("contains", "I see a red, big circle.", "red big circle") == 1
    assert right("contains", "a category", "cat") == 0
    assert right("contains", "a circle, red", "red circle") == 0


@pytest.mark.parametrize(
    "answer", ["B", "b", "(B)", "B.", "B) the red one", "B: red", "**B**", "B red", "The answer is B.", "Option (B)"]
)
def test_choice_finds_the_letter(answer):
    assert right("choice", answer, "B") == 1


@pytest.mark.parametrize("answer", ["A", "", "A or B", "Bread", "Because it is red", "The answer is a red ball"])
def test_choice_takes_no_other_letter(answer):
    assert right("choice", answer, "B") == 0


def test_an_article_is_no_choice():
    assert right("choice", "A red ball", "A") == 0
    assert right("choice", "The answer is a red ball", "A") == 0


def test_choice_takes_the_text_of_the_option_too():
    assert right("choice", "Red ball.", "C", "red ball") == 1


@pytest.mark.parametrize(
    ("answer", "wanted", "value"),
    [("Hello", "hello", 1.0), ("hallo", "hello", 0.8), ("he", "hell", 0.5), ("h", "hell", 0.0), ("", "hello", 0.0)],
)
def test_anls_is_the_similarity_from_one_half_up(answer, wanted, value):
    assert right("anls", answer, wanted) == pytest.approx(value)


@pytest.mark.parametrize(("one", "other", "steps"), [("kitten", "sitting", 3), ("", "abc", 3), ("same", "same", 0)])
def test_edit_distance_counts_single_characters(one, other, steps):
    assert edit_distance(one, other) == edit_distance(other, one) == steps


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("There are 3 of 5.", 3),
        ("about -1.5 m", -1.5),
        ("1,234,567 in all", 1234567),
        ("12,5", 12),
        (".5", 0.5),
        ("Seven or 8", 7),
        ("none", None),
    ],
)
def test_the_first_number_counts(text, number):
    assert first_number(text) == number


def test_a_number_may_be_off_by_the_tolerance_and_no_more():
    assert right("number", "104", "100", tolerance=5.0) == 1
    assert right("number", "106", "100", tolerance=5.0) == 0
    assert right("number", "105 km", "100", tolerance=0.05, relative=True) == 1
    assert right("number", "94", "100", tolerance=0.05, relative=True) == 0
    assert right("number", "3.0", "3") == 1
    assert right("number", "no idea", "3") == 0


def test_a_tolerance_is_a_distance_or_a_share():
    assert parse_tolerance(2) == (2.0, False)
    assert parse_tolerance("5%") == (pytest.approx(0.05), True)


@pytest.mark.parametrize("value", ["five", -1, True, [1], "inf", "nan"])
def test_a_senseless_tolerance_is_refused(value):
    with pytest.raises(ValueError, match="must"):
        parse_tolerance(value)
