"""Whom a selection serves: its own question, or all questions about the image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from sppruner_vllm.api import question_table
from sppruner_vllm.api.question_table import QuestionTable
from sppruner_vllm.folder import VARIABLE
from sppruner_vllm.planning.accounting import VisualTokens, account
from sppruner_vllm.planning.plan import ReductionPlan
from sppruner_vllm.planning.planner import Prompt, Sent, plan_images
from sppruner_vllm.planning.scope import DIGEST_BYTES, FirstQuestions
from sppruner_vllm.request.asked import ReductionRequest
from sppruner_vllm.settings import FocusScope, Settings

IMAGE, END = 1, 2
CAT, DOG, SEA = (11,), (12, 13), (14,)


@dataclass(frozen=True)
class Turns:
    """Turns that a token ends."""

    silent: frozenset[int] = frozenset({IMAGE, END})

    def spans(self, prompt: Sequence[int]) -> Iterator[tuple[int, int]]:
        start = 0
        for end in [index for index, token in enumerate(prompt) if token == END] + [len(prompt)]:
            yield start, end
            start = end + 1


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> QuestionTable:
    monkeypatch.delenv(VARIABLE, raising=False)
    return QuestionTable()


def ask(
    memory: QuestionTable,
    *turns: tuple[int, ...],
    scope: FocusScope = "auto",
    keys: str = "a",
    ratio: float = 0.25,
    tokens: int | None = None,
    shared: float | None = None,
    method: str = "focus_context",
    refused: bool = False,
) -> tuple[ReductionPlan, ...]:
    """The plans of pictures of 64 tokens, one a turn until there is none left, in a conversation of these turns."""
    ids = [token for number, turn in enumerate(turns) for token in [*[IMAGE] * (number < len(keys)), *turn, END]]
    prompt = Prompt(ids, IMAGE, Turns, lambda text: [ord(letter) for letter in text])
    request = ReductionRequest(ratio, tokens, None, method, scope)
    known = FirstQuestions(lambda: memory)
    plans = plan_images(
        [Sent((8, 8), None, key) for key in keys], prompt, request, Settings(shared_keep_ratio=shared), known
    )
    if not refused:
        known.keep()
    return plans


def scopes(plans: Sequence[ReductionPlan]) -> list[str | None]:
    return [plan.scope for plan in plans]


@pytest.mark.parametrize(("scope", "query"), [("question", CAT), ("image", ())])
def test_a_scope_that_is_named_holds_for_every_question(memory, scope, query):
    for _ in range(2):
        (plan,) = ask(memory, CAT, scope=scope)
        assert (plan.scope, plan.query_ids, plan.retained) == (scope, query, 16)


def test_the_first_question_steers_and_the_others_share(memory):
    first, second, third = (ask(memory, question)[0] for question in (CAT, DOG, SEA))
    assert (first.scope, first.query_ids) == ("question", CAT)
    assert (second.scope, second.query_ids) == ("image", ())
    assert second == third


def test_the_shared_selection_is_the_one_of_the_scope_image(memory):
    ask(memory, CAT)
    assert ask(memory, DOG) == ask(memory, SEA, scope="image")


def test_a_conversation_keeps_what_it_began_with(memory):
    first, second = ask(memory, CAT), ask(memory, DOG)
    assert ask(memory, CAT, SEA, DOG) == first
    assert ask(memory, DOG, SEA, CAT) == second


def test_another_picture_has_a_first_question_of_its_own(memory):
    ask(memory, CAT)
    assert scopes(ask(memory, DOG, keys="b")) == ["question"]


def test_a_picture_that_comes_again_in_a_conversation_is_decided_alike_the_next_time(memory):
    first = ask(memory, CAT, DOG, keys="aa")
    assert scopes(first) == ["question", "image"]
    assert ask(memory, CAT, DOG, SEA, keys="aa") == first


def test_another_budget_or_method_shares_nothing_and_begins_anew(memory):
    ask(memory, CAT)
    assert scopes(ask(memory, DOG, ratio=0.5)) == ["question"]
    assert scopes(ask(memory, DOG, method="relevance")) == ["question"]


def test_budgets_that_are_raised_to_the_same_count_as_one(memory):
    ask(memory, CAT, ratio=0.25, shared=0.5)
    (plan,) = ask(memory, DOG, ratio=0.3, shared=0.5)
    assert (plan.scope, plan.retained, plan.raised) == ("image", 32, True)


@pytest.mark.parametrize(
    ("asked", "shared", "kept", "raised"),
    [
        ({"ratio": 0.25}, None, 16, False),
        ({"ratio": 0.25}, 0.5, 32, True),
        ({"ratio": 0.75}, 0.5, 48, False),
        ({"tokens": 20}, 0.5, 32, True),
        ({"tokens": 40}, 0.5, 40, False),
    ],
)
def test_a_shared_selection_keeps_the_operators_budget_and_never_less_than_asked(memory, asked, shared, kept, raised):
    ask(memory, CAT, shared=shared, **asked)
    (plan,) = ask(memory, DOG, shared=shared, **asked)
    assert (plan.retained, plan.raised) == (kept, raised)


def test_a_shared_ratio_of_1_leaves_the_picture_whole_and_says_so(memory):
    ask(memory, CAT, shared=1)
    (plan,) = ask(memory, DOG, shared=1)
    assert (plan.reduces, plan.scope, plan.skipped_reason, plan.stages) == (False, "image", "keep_ratio_is_1", ())


def test_a_refused_request_is_not_remembered(memory):
    ask(memory, CAT, refused=True)
    assert scopes(ask(memory, DOG)) == ["question"]


def test_no_question_is_a_question_that_steers_nothing(memory):
    assert scopes(ask(memory, ())) == ["image"]
    assert ask(memory, DOG) == ask(memory, ())


@pytest.mark.parametrize(("method", "ratio"), [("uniform", 0.25), ("focus_context", 0.999)])
def test_where_no_question_could_steer_there_is_no_scope(memory, method, ratio):
    assert scopes(ask(memory, CAT, method=method, ratio=ratio)) == [None]


def test_usage_says_the_scope_and_the_ratio_that_a_raised_budget_came_to(memory):
    request = ReductionRequest(0.25, None, None, "focus_context", "auto")
    first = ask(memory, CAT, shared=0.5)
    second = ask(memory, DOG, shared=0.5)
    told = [account(plans, request, [plan.retained for plan in plans], ()) for plans in (first, second)]
    assert told == [
        VisualTokens(64, 16, 0.25, "focus_context", None, ("question",)),
        VisualTokens(64, 32, 0.5, "focus_context", None, ("image",)),
    ]
    assert [one.as_usage()["focus_scope"] for one in told if one] == ["question", "image"]


def test_pictures_of_different_scopes_are_told_apart_in_order():
    assert VisualTokens(9, 3, 0.3, "m", None, ("question", "image", None)).focus_scope == "question,image,none"
    assert VisualTokens(9, 3, 0.3, "m", None, (None, None)).focus_scope is None


# The table


def key(number: int, place: int = 0) -> bytes:
    return place.to_bytes(8) + number.to_bytes(DIGEST_BYTES - 8)


def test_the_first_question_stays(memory):
    memory.note(key(1), key(7))
    memory.note(key(1), key(8))
    assert (memory.recall(key(1)), memory.recall(key(2))) == (key(7), None)


def test_the_newest_image_takes_the_place_of_another(memory):
    memory.note(key(1), key(7))
    memory.note(key(2), key(8))
    assert (memory.recall(key(1)), memory.recall(key(2))) == (None, key(8))


def test_processes_of_a_server_know_the_same(monkeypatch, tmp_path: Path):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    one, other = QuestionTable(), QuestionTable()
    one.note(key(1), key(7))
    other.note(key(1), key(8))
    assert other.recall(key(1)) == one.recall(key(1)) == key(7)


@pytest.mark.parametrize("left", [b"", b"\xff" * 3_000_000], ids=["cut off", "of another size"])
def test_what_is_left_of_another_table_is_no_table_of_first_questions(monkeypatch, tmp_path: Path, left: bytes):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    (tmp_path / "sppruner_questions.table").write_bytes(left)
    table = QuestionTable()
    assert table.recall(key(1)) is None
    table.note(key(1), key(7))
    assert QuestionTable().recall(key(1)) == key(7)


def test_a_table_that_cannot_be_shared_is_of_this_process_alone(monkeypatch, tmp_path: Path):
    """As where the operator's folder holds a link to another file, which is left as it is."""
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    other = tmp_path / "other"
    other.write_text("not ours")
    (tmp_path / "sppruner_questions.table").symlink_to(other)
    table = QuestionTable()
    table.note(key(1), key(7))
    assert (table.recall(key(1)), QuestionTable().recall(key(1))) == (key(7), None)
    assert other.read_text() == "not ours"


def test_ten_thousand_images_take_no_more_room_than_one(monkeypatch, tmp_path: Path):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    table = QuestionTable()
    for number in range(10_000):
        table.note(key(number, number), key(7))
    (file,) = tmp_path.iterdir()
    assert file.stat().st_size == question_table.PLACES * 2 * DIGEST_BYTES == 2**21
    assert all(table.recall(key(number, number)) == key(7) for number in range(10_000))
