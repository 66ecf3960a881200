"""What users ask: conversations that yield the messages of a request and are sent the text of its answer.

Knows no clock and no network. Everything drawn comes from the dice handed in, so a session is the same in every run.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Sequence
from typing import Any, Final

Messages = list[dict[str, Any]]
Conversation = Generator[Messages, str, None]

QUESTIONS: Final = (
    "What is in this picture?",
    "Which colours stand out?",
    "What is in the upper left corner?",
    "Is there any text in the picture?",
    "How many things can be counted?",
    "What is in the middle?",
    "What looks out of place here?",
    "Describe the background.",
    "What is the largest thing?",
    "What is next to it?",
    "Where would one look first?",
    "Name three details.",
)
TOPICS: Final = (
    "a river",
    "a clock",
    "a bridge",
    "rain",
    "a market",
    "bread",
    "a lighthouse",
    "snow",
    "a violin",
    "salt",
)


def single(dice: random.Random, images: Sequence[str], length: int) -> Conversation:
    """One question about one image."""
    yield [_ask(images[:1], dice.choice(QUESTIONS))]


def multi_turn(dice: random.Random, images: Sequence[str], length: int) -> Conversation:
    """A chat of `length` turns about one image: every turn repeats all that was said before."""
    history: Messages = []
    for turn, question in enumerate(_questions(dice, length)):
        history.append(_ask(images[:1] if turn == 0 else (), question))
        answer = yield list(history)
        history.append({"role": "assistant", "content": answer})


def many_questions(dice: random.Random, images: Sequence[str], length: int) -> Conversation:
    """`length` questions about one image, one after another and without the earlier ones."""
    for question in _questions(dice, length):
        yield [_ask(images[:1], question)]


def several_images(dice: random.Random, images: Sequence[str], length: int) -> Conversation:
    """One question about all the images together."""
    yield [_ask(images, dice.choice(QUESTIONS))]


def video(dice: random.Random, images: Sequence[str], length: int) -> Conversation:
    """One question about one video."""
    yield [_ask(images[:1], dice.choice(QUESTIONS), "video_url")]


def text_only(dice: random.Random, images: Sequence[str], length: int) -> Conversation:
    """A question without an image."""
    yield [_ask((), f"Write a few sentences about {' and '.join(dice.sample(TOPICS, 2))}.")]


SCENARIOS: Final[dict[str, Callable[[random.Random, Sequence[str], int], Conversation]]] = {
    "single": single,
    "multi-turn": multi_turn,
    "many-questions": many_questions,
    "several-images": several_images,
    "video": video,
    "text": text_only,
}


def _questions(dice: random.Random, count: int) -> list[str]:
    """Questions in an order of their own; none repeats before all were asked."""
    asked: list[str] = []
    while len(asked) < count:
        asked += dice.sample(QUESTIONS, len(QUESTIONS))
    return asked[:count]


def _ask(shown: Sequence[str], text: str, kind: str = "image_url") -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": kind, kind: {"url": url}} for url in shown]
    return {"role": "user", "content": [*content, {"type": "text", "text": text}]}
