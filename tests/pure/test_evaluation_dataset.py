"""A user's JSONL: what it may say, and how its errors read."""

from __future__ import annotations

import base64
import dataclasses
import io
import json

import pytest
from PIL import Image

from sppruner_vllm.evaluation.dataset import load_dataset
from sppruner_vllm.evaluation.jsonl import read_jsonl
from sppruner_vllm.evaluation.questions import DatasetError, Picture, Question, identify
from sppruner_vllm.evaluation.scoring import Metric


def png(colour="red"):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def write(tmp_path):
    """Write lines beside a picture a.png; the file's path."""
    (tmp_path / "a.png").write_bytes(png())

    def to_file(*lines):
        path = tmp_path / "set.jsonl"
        path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
        return path

    return to_file


GOOD = {"image": "a.png", "question": "What is it?", "answer": "a square"}


def test_a_short_line_is_enough(write):
    (question,) = read_jsonl(write(GOOD))
    assert (question.text, question.answers, question.metric) == ("What is it?", ("a square",), Metric("exact"))
    assert (question.id, question.family) == ("line-1", "all")
    assert question.images[0].read() == png()


def test_every_field_is_read(write):
    line = {"images": ["a.png", "a.png"], "question": "How far?", "answer": [3, "4"], "metric": "number"}
    line |= {"tolerance": "5%", "id": 7, "family": "measure", "group": "g"}
    (question,) = read_jsonl(write(line))
    assert (question.id, len(question.images), question.answers) == ("7", 2, ("3", "4"))
    assert (question.metric, question.family, question.group) == (Metric("number", 0.05, True), "measure", "g")


@pytest.mark.parametrize("head", ["", "data:image/png;base64,"])
def test_a_picture_may_stand_in_the_line(write, head):
    (question,) = read_jsonl(write(GOOD | {"image": head + base64.b64encode(png("blue")).decode()}))
    assert question.images[0].read() == png("blue")


def test_a_url_is_fetched_when_it_is_needed(write):
    (question,) = read_jsonl(write(GOOD | {"image": "http://127.0.0.1:9/a.png"}))
    with pytest.raises(DatasetError, match=r"line-1: cannot read http://127\.0\.0\.1:9/a\.png"):
        identify(question)


def test_empty_lines_are_skipped_and_lines_keep_their_numbers(write):
    assert [question.id for question in read_jsonl(write(GOOD, "", GOOD))] == ["line-1", "line-3"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"question": None}, "question"),
        ({"question": " "}, "question"),
        ({"answer": None}, "answer"),
        ({"answer": []}, "answer"),
        ({"answer": [""]}, "answer"),
        ({"answer": {"a": 1}}, "answer"),
        ({"answer": True}, "answer"),
        ({"metric": "number"}, "answer"),
        ({"metric": "bleu"}, "metric"),
        ({"metric": ["exact"]}, "metric"),
        ({"tolerance": 1}, "tolerance"),
        ({"answer": 3, "metric": "number", "tolerance": "a bit"}, "tolerance"),
        ({"image": "b.png"}, "image"),
        ({"image": "set.jsonl"}, "image"),
        ({"image": 3}, "image"),
        ({"image": None}, "image"),
        ({"image": "data:image/png,abc"}, "image"),
        ({"image": "data:image/png;base64,%%%"}, "image"),
        ({"image": "x" * 5000}, "image"),
        ({"images": ["a.png"]}, "image"),
        ({"family": 1.5}, "family"),
    ],
)
def test_a_bad_line_is_named_with_its_field(write, change, field):
    with pytest.raises(DatasetError, match=rf"set\.jsonl, line 2, field {field}: "):
        read_jsonl(write(GOOD, GOOD | change))


@pytest.mark.parametrize("line", ["{", "[1]", "3"])
def test_a_line_that_is_no_object_is_named(write, line):
    with pytest.raises(DatasetError, match=r"set\.jsonl, line 2: "):
        read_jsonl(write(GOOD, line))


def test_a_missing_or_empty_file_and_a_repeated_id_are_refused(write, tmp_path):
    with pytest.raises(DatasetError, match="cannot read"):
        load_dataset(str(tmp_path / "none.jsonl"), None, 0)
    with pytest.raises(DatasetError, match="holds no questions"):
        load_dataset(str(write("")), None, 0)
    with pytest.raises(DatasetError, match="two questions have the id 'a'"):
        load_dataset(str(write(GOOD | {"id": "a"}, GOOD | {"id": "a"})), None, 0)


def test_a_limit_takes_the_first_questions(write):
    assert [one.id for one in load_dataset(str(write(GOOD, GOOD, GOOD)), 2, 0)] == ["line-1", "line-2"]


def test_questions_about_the_same_pictures_are_one_group():
    one = Question("1", (Picture("a", png),), "What?", ("x",))
    same = dataclasses.replace(one, id="2", text="Where?")
    other = dataclasses.replace(one, id="3", images=(Picture("b", lambda: png("blue")),))
    assert identify(one).group == identify(same).group != identify(other).group
    assert identify(dataclasses.replace(one, group="g")).group == "g"


def test_whatever_decides_the_score_changes_the_identity():
    one = Question("1", (Picture("a", png),), "What?", ("x",))
    changes = [{"text": "Who?"}, {"answers": ("y",)}, {"metric": Metric("anls")}, {"images": one.images * 2}]
    contents = {identify(dataclasses.replace(one, **change)).content for change in [{}, *changes]}
    assert len(contents) == 5
    assert identify(dataclasses.replace(one, family="other")).content == identify(one).content


def test_only_questions_of_some_families_are_asked(write):
    path = write(GOOD | {"family": "one"}, GOOD | {"family": "two"}, GOOD | {"family": "one"}, GOOD | {"family": "one"})
    found = load_dataset(str(path), 2, 0, ("one",))
    assert [question.id for question in found] == ["line-1", "line-3"]
    with pytest.raises(DatasetError, match="holds no questions of three, four"):
        load_dataset(str(path), None, 0, ("three", "four"))


def test_as_many_questions_of_rare_families_are_asked_as_of_all():
    found = load_dataset("hard", 5, 3, ("two hops", "second look"))
    assert [question.family for question in found] == ["two hops", "second look", "two hops", "second look", "two hops"]
    assert [len(load_dataset("demo", 9, 3, families)) for families in ((), ("count",))] == [9, 9]


def test_questions_about_a_picture_of_the_demo_share_it():
    """A backend that encodes each picture once goes by this."""
    of_one, of_two = (load_dataset("demo", 14, 3, (family,))[0] for family in ("focus", "compare"))
    assert of_one.images[0] == of_two.images[0] != of_two.images[1]
    assert of_one.images[0].read() == of_two.images[0].read() != of_two.images[1].read()
