"""The harder exam: what is asked follows from what is drawn, and no training has shown its photographs."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from sppruner_vllm.demo.vocabulary import SIGN_WORDS
from sppruner_vllm.demo.world.backgrounds import HELD_OUT_PHOTOS, PHOTOS, background
from sppruner_vllm.demo.world.hard_exam import HARD_FAMILIES, hard_exam
from sppruner_vllm.demo.world.sheets import KINDS, draw_sheet
from sppruner_vllm.evaluation.demo_dataset import hard_questions
from sppruner_vllm.evaluation.questions import identify

SEEDS = range(60)


@pytest.fixture(scope="module")
def questions():
    return list(hard_exam(3, 30))


def of(questions, family):
    return [question for question in questions if question.family == family]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [280, 448, 1008])
def test_what_is_printed_lies_on_its_paper_and_apart(kind, size):
    for seed in SEEDS:
        layout = draw_sheet(kind, seed, size).layout
        left, top, width, height = layout.paper
        assert left >= 0 <= top
        assert max(left + width, top + height) <= size
        ground = np.zeros((size, size), dtype=int)
        for item in layout.items:
            x, y, wide, high = item.box
            assert left <= x <= left + width - wide
            assert top <= y <= top + height - high
            ground[y : y + high, x : x + wide] += 1
        assert ground.max() == 1


def test_a_page_holds_twenty_to_sixty_words_about_one_token_high():
    for seed in SEEDS:
        words = draw_sheet("page", seed, 448).layout.items
        assert 20 <= len(words) <= 60
        assert all(22 <= word.box[3] <= 28 for word in words)


def test_the_word_after_another_stands_right_of_the_only_one_of_that_name():
    for seed in SEEDS:
        sheet = draw_sheet("page", seed, 448)
        printed = [item.name for item in sheet.layout.items]
        for asked in sheet.asked:
            named = asked.text.removeprefix("Which word is after ").removesuffix("?")
            assert printed.count(named) == 1
            place = printed.index(named)
            one, other = sheet.layout.items[place : place + 2]
            assert (one.box[1], other.name) == (other.box[1], asked.answer)


def test_a_cell_stands_in_the_row_and_the_column_that_name_it():
    for seed in SEEDS:
        sheet = draw_sheet("table", seed, 448)
        words = {item.name: item.box for item in sheet.layout.items if item.kind == "word"}
        cells = {item.box[:2]: item.name for item in sheet.layout.items if item.kind == "cell"}
        for asked in sheet.asked:
            row, column = (word for word in asked.text.removesuffix("?").split() if word in SIGN_WORDS)
            assert cells[words[column][0], words[row][1]] == asked.answer


def test_the_highest_bar_is_the_highest():
    for seed in SEEDS:
        sheet = draw_sheet("chart", seed, 448)
        heights = {item.name: item.box[3] for item in sheet.layout.items if item.kind == "bar"}
        answers = {asked.text: asked.answer for asked in sheet.asked}
        assert answers["Which bar is the highest?"] == max(heights, key=heights.get)
        assert answers["Which bar is the least?"] == min(heights, key=heights.get)


def test_the_exam_asks_every_family_in_turn_and_repeats_itself(questions):
    assert [question.family for question in questions[: len(HARD_FAMILIES)]] == list(HARD_FAMILIES)
    assert questions[: 2 * len(HARD_FAMILIES)] == list(hard_exam(3, 2))
    assert list(hard_exam(3, 2)) != list(hard_exam(4, 2))


def test_large_pictures_hold_things_that_stay_small(questions):
    for side, family in ((672, "large 672"), (1008, "large 1008")):
        for question in of(questions, family):
            assert question.layout.size == side
            assert max(max(item.box[2:]) for item in question.layout.items if item.kind == "shape") <= 52
            assert len(question.layout.items) > 25


def test_a_second_turn_or_look_asks_about_another_thing(questions):
    for question in (*of(questions, "second turn"), *of(questions, "second look")):
        (first,) = question.before or (question.chosen_for,)
        assert first.family != question.asked.family
        named = [item.name for item in question.layout.items if item.kind == "shape" and item.name in first.text]
        assert not any(name in question.asked.text.split() for name in named)
    assert not any(question.before for question in questions if question.family != "second turn")


def test_two_hops_end_at_the_shape_beside(questions):
    for question in of(questions, "two hops"):
        beside = [(question.layout.items[one], question.layout.items[two]) for one, two, _ in question.layout.pairs]
        assert any(question.asked.answer in (two.name, two.colour) for _, two in beside)


def test_photographs_of_the_exam_are_in_no_training():
    assert not set(HELD_OUT_PHOTOS) & set(PHOTOS)
    same = [np.array_equal(background(seed, 56), background(seed, 56, held_out=True)) for seed in range(10)]
    assert not any(same)


def test_questions_for_the_evaluation_carry_their_earlier_turn_or_their_focus():
    asked = list(hard_questions(2 * len(HARD_FAMILIES), 3))
    assert [question.family for question in asked] == [*HARD_FAMILIES, *HARD_FAMILIES]
    assert [question.family for question in asked if question.before] == ["second turn", "second turn"]
    assert [question.family for question in asked if question.focus] == ["second look", "second look"]
    assert all(one.id != other.id for one, other in pairwise(asked))
    first = asked[4]
    assert identify(first) == identify(list(hard_questions(5, 3))[4])
