"""The demo model's world: what is drawn is what is asked, and what is asked has one answer."""

from __future__ import annotations

import random
from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from sppruner_vllm.demo.vocabulary import FEATURE_INDEX, FEATURES, LIGHT, PLURALS, SHAPES
from sppruner_vllm.demo.world.content import content
from sppruner_vllm.demo.world.exam import exam
from sppruner_vllm.demo.world.layout import draw_layout
from sppruner_vllm.demo.world.questions import FAMILIES, askable, askable_of_two, choose
from sppruner_vllm.demo.world.scene import render
from sppruner_vllm.demo.world.sprites import draw
from sppruner_vllm.evaluation.demo_dataset import TUNING_SEED

SEEDS = range(200)


@pytest.fixture(scope="module")
def layouts():
    return [draw_layout(seed, 448) for seed in SEEDS]


def shapes(layout):
    return [item for item in layout.items if item.kind == "shape"]


def test_one_seed_gives_one_picture():
    first, second = (np.asarray(render(draw_layout(7, 448))) for _ in range(2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, np.asarray(render(draw_layout(8, 448))))


def test_things_do_not_overlap_and_stay_inside(layouts):
    for layout in layouts:
        for item in layout.items:
            left, top, width, height = item.box
            assert min(left, top) >= 0
            assert max(left + width, top + height) <= layout.size
        for one, other in combinations(layout.items, 2):
            apart = [
                one.box[axis] + one.box[axis + 2] <= other.box[axis]
                or other.box[axis] + other.box[axis + 2] <= one.box[axis]
                for axis in (0, 1)
            ]
            assert any(apart), (layout.seed, one, other)


def test_an_item_is_drawn_as_large_as_its_box(layouts):
    for item in layouts[0].items:
        assert draw(item, held_out=False).size == item.box[2:]


def test_every_scene_misses_a_shape(layouts):
    assert all({item.name for item in shapes(layout)} < set(SHAPES) for layout in layouts)


def test_a_neighbour_question_has_no_second_candidate(layouts):
    """No third shape is nearer to the anchor than the companion."""
    for layout in layouts:
        for anchor, companion, side in layout.pairs:
            here, there = layout.items[anchor], layout.items[companion]
            axis = 0 if side == "right of" else 1
            assert there.box[axis] >= here.box[axis] + here.box[axis + 2]
            nearest = min(
                (item for index, item in enumerate(layout.items) if item.kind == "shape" and index != anchor),
                key=lambda item: np.hypot(*np.subtract(item.centre, here.centre)),
            )
            assert nearest is there


def test_counts_and_presence_are_those_of_the_layout(layouts):
    for layout in layouts:
        often = Counter(item.name for item in shapes(layout))
        there = {f"Is there a {item.colour} {item.name}?" for item in shapes(layout)}
        pool = askable(layout)
        numbers = {asked.text: asked.answer for asked in pool["count"]}
        words = ("zero", "one", "two", "three", "four")
        right = {
            f"How many {plural} are there?": words[min(4, often[name])]
            for name, plural in zip(SHAPES, PLURALS, strict=True)
        }
        assert numbers.items() <= right.items()
        assert len(numbers) == len([number for number in often.values() if 1 < number <= 4]) + (1 in often.values())
        assert all((asked.text in there) == (asked.answer == "yes") for asked in pool["presence"])
        assert Counter(asked.answer for asked in pool["presence"])["yes"] * 2 == len(pool["presence"])


def test_a_named_thing_is_unique(layouts):
    for layout in layouts:
        often = Counter(item.name for item in shapes(layout))
        for family in ("focus", "place"):
            for asked in askable(layout)[family]:
                named = [name for name in SHAPES if f"the {name}?" in asked.text]
                assert all(often[name] == 1 for name in named)


def test_two_pictures_are_told_apart_by_what_only_one_holds(layouts):
    first, second = layouts[:2]
    names = [{item.name for item in shapes(layout)} for layout in (first, second)]
    for asked in askable_of_two(first, second):
        name = asked.text.rstrip("?").rpartition(" ")[2]
        held = [name in group for group in names]
        assert (
            asked.answer
            == {
                (True, False): "first" if "Which" in asked.text else "no",
                (False, True): "second" if "Which" in asked.text else "no",
                (True, True): "yes",
            }[tuple(held)]
        )


def test_families_take_turns():
    pool = askable(draw_layout(3, 448))
    chosen = choose(pool, 6, random.Random(0))
    assert len({asked.family for asked in chosen}) == len([asked for asked in pool.values() if asked])


def test_content_names_each_thing_where_it_stands(layouts):
    for layout in layouts[:20]:
        shown = content(layout, 16)
        assert shown.shape == (16, 16, len(FEATURES))
        for item in shapes(layout):
            x, y = (int(part) // 28 for part in item.centre)
            assert shown[y, x, FEATURE_INDEX["centre"]] == 1
            assert shown[y, x, FEATURE_INDEX[item.name]] > 0
        things = [item for item in layout.items if item.kind != "clutter"]
        assert shown[:, :, FEATURE_INDEX["centre"]].sum() <= len(things)
        nothing = FEATURE_INDEX["nothing"]
        things = np.delete(shown[:, :, : -len(LIGHT)], nothing, axis=2)
        assert np.allclose(shown[:, :, nothing], 1 - things.max(axis=2))


def test_light_is_measured_where_there_is_a_picture(layouts):
    grey = np.full((448, 448, 3), 51, dtype=np.uint8)
    bare = content(layouts[0], 16, grey)[..., FEATURE_INDEX["nothing"]] == 1
    light = content(layouts[0], 16, grey)[bare][:, -len(LIGHT) :]
    assert np.allclose(light, [0.2, 0.2, 0.2, 0.0], atol=1e-3)
    assert content(layouts[0], 16)[bare][:, -len(LIGHT) :].std() > 0.1


def test_held_out_scenes_use_other_handwriting(layouts):
    digits = [item for layout in layouts for item in layout.items if item.kind == "digit"][:50]
    same = [np.array_equal(draw(item, held_out=True), draw(item, held_out=False)) for item in digits]
    assert not any(same)


def test_the_exam_asks_every_family_and_repeats_itself():
    questions = list(exam(TUNING_SEED, 12))
    assert {question.asked.family for question in questions} == set(FAMILIES)
    assert questions == list(exam(TUNING_SEED, 12))
    assert questions != list(exam(TUNING_SEED + 1, 12))
