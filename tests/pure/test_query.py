"""Which text of a prompt is the query of an image."""

from __future__ import annotations

from sppruner_vllm.planning.query import SpokenTurns, TurnMarkers, turn_queries

START, END, NEWLINE, USER, IMAGE, VISION = 1, 2, 3, 4, 5, 6
MARKERS = TurnMarkers(START, END, NEWLINE, frozenset({START, END, IMAGE, VISION}))
SYSTEM = [START, 9, NEWLINE, 90, 91, END, NEWLINE]


def turn_query(prompt: list[int], place: int, markers: TurnMarkers, longest: int) -> tuple[int, ...]:
    (query,) = turn_queries(prompt, [place], markers, longest)
    return query


def turn(*tokens: int) -> list[int]:
    return [START, USER, NEWLINE, *tokens, END, NEWLINE]


def test_the_query_is_the_text_of_the_turn_that_holds_the_image() -> None:
    prompt = SYSTEM + turn(20, IMAGE, 21, NEWLINE, 22) + turn(30, 31)
    assert turn_query(prompt, prompt.index(IMAGE), MARKERS, 128) == (20, 21, NEWLINE, 22)


def test_a_later_turn_leaves_the_query_of_an_earlier_image_alone() -> None:
    first = SYSTEM + turn(IMAGE, 20)
    place = first.index(IMAGE)
    assert turn_query(first, place, MARKERS, 128) == turn_query(first + turn(40, 41), place, MARKERS, 128)


def test_a_turn_without_text_has_no_query() -> None:
    prompt = SYSTEM + turn(VISION, IMAGE, VISION)
    assert turn_query(prompt, prompt.index(IMAGE), MARKERS, 128) == ()


def test_a_prompt_without_turns_counts_as_one_turn() -> None:
    assert turn_query([50, IMAGE, 51], 1, MARKERS, 128) == (50, 51)


def test_a_newline_far_into_the_text_does_not_end_the_header() -> None:
    prompt = [START, USER, *range(20, 30), NEWLINE, IMAGE, 31, END]
    assert turn_query(prompt, prompt.index(IMAGE), MARKERS, 128)[:2] == (USER, 20)


def test_a_long_turn_keeps_its_last_tokens() -> None:
    assert turn_query(turn(IMAGE, *range(20, 40)), 3, MARKERS, 4) == (36, 37, 38, 39)


def test_each_image_gets_the_text_of_its_own_turn() -> None:
    prompt = SYSTEM + turn(IMAGE, IMAGE, 20) + turn(30) + turn(40, IMAGE)
    places = [index for index, token in enumerate(prompt) if token == IMAGE]
    assert turn_queries(prompt, places, MARKERS, 128) == [(20,), (20,), (40,)]


PIECES = {10: "<s>", 11: " U", 12: "SER", 13: ":", 14: " ", 15: "<image>", 16: "\n", 17: " what", 18: "ASS", 19: "IST"}
PIECES |= {20: "ANT", 21: " A", 22: "SS", 23: " red", 24: "US", 25: "ER", 26: "</s>"}
SPOKEN = SpokenTurns(("USER:", "ASSISTANT:"), lambda ids: [PIECES[token] for token in ids], frozenset({10, 15, 26}))
FIRST = [10, 11, 12, 13, 14, 15, 14, 16, 17, 21, 22, 19, 20, 13]


def test_turns_opened_by_words_are_found_however_the_words_are_cut() -> None:
    assert turn_queries(FIRST, [5], SPOKEN, 128) == [(14, 14, 16, 17)]
    chat = [*FIRST, 23, 26, 24, 25, 13, 15, 23, 16, 18, 19, 20, 13]
    places = [index for index, token in enumerate(chat) if token == 15]
    assert turn_queries(chat, places, SPOKEN, 128) == [(14, 14, 16, 17), (23, 16)]


def test_a_prompt_without_the_words_is_of_another_template_and_has_no_query() -> None:
    assert turn_queries([17, 15, 23], [1], SPOKEN, 128) == [()]


def test_an_image_before_the_first_turn_has_no_query() -> None:
    assert turn_queries([17, 15, *FIRST], [1, 7], SPOKEN, 128) == [(), (14, 14, 16, 17)]


def test_the_words_inside_another_word_open_nothing() -> None:
    inside = [10, 11, 12, 13, 15, 17, 18, 24, 25, 13, 23, 21, 22, 19, 20, 13]  # "… whatASSUSER: red ASSISTANT:"
    assert turn_queries(inside, [4], SPOKEN, 128) == [(17, 18, 24, 25, 13, 23)]
