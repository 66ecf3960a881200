"""A prompt whose pictures the engine lacks is sent a second time, with them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from sppruner_server.engine.resend import AGAIN, lacks_pictures, resending

HASHES = {"image": ["a", "b"]}
SPARED = {"mm_kwargs": {"image": [None, "B"]}, "mm_hashes": HASHES}
WHOLE = {"mm_kwargs": {"image": ["A", "B"]}, "mm_hashes": HASHES}


def output(reason: str | None, *tokens: int) -> SimpleNamespace:
    return SimpleNamespace(outputs=[SimpleNamespace(finish_reason=reason, token_ids=tokens)])


MISSED, FIRST, LAST = output("error"), output(None, 1), output("stop", 1, 2)


class Engine:
    """Stands for AsyncLLM: what it is sent, and what it answers to each."""

    def __init__(self, *answers: Sequence[Any]) -> None:
        self.answers = list(answers)
        self.sent: list[Any] = []
        self.closed = 0

    async def generate(self, prompt: Any, *args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
        self.sent.append(prompt)
        try:
            for answer in self.answers.pop(0):
                yield answer
        finally:
            self.closed += 1


def ask(engine: Engine, prompt: Mapping[str, Any], fresh: Mapping[str, Any] | Exception = WHOLE) -> list[Any]:
    async def again() -> Any:
        if isinstance(fresh, Exception):
            raise fresh
        return fresh

    async def serve() -> list[Any]:
        given = {**prompt, AGAIN: again} if lacks_pictures(prompt) else prompt
        return [answer async for answer in resending(engine.generate)(given, "params", request_id="1")]

    return asyncio.run(serve())


def test_a_prompt_whose_pictures_are_missing_is_sent_again_with_them() -> None:
    engine = Engine([MISSED], [FIRST, LAST])
    assert ask(engine, SPARED) == [FIRST, LAST]
    assert [sent["mm_kwargs"] for sent in engine.sent] == [SPARED["mm_kwargs"], WHOLE["mm_kwargs"]]
    assert engine.closed == 2


def test_what_is_answered_is_sent_once() -> None:
    engine = Engine([FIRST, LAST])
    assert ask(engine, SPARED) == [FIRST, LAST]
    assert len(engine.sent) == 1


def test_a_prompt_that_brought_its_pictures_is_not_sent_again() -> None:
    engine = Engine([MISSED])
    assert ask(engine, WHOLE) == [MISSED]


def test_an_error_after_a_token_is_the_clients_to_see() -> None:
    engine = Engine([FIRST, MISSED])
    assert ask(engine, SPARED) == [FIRST, MISSED]


def test_a_second_error_is_the_clients_to_see() -> None:
    engine = Engine([MISSED], [MISSED])
    assert ask(engine, SPARED) == [MISSED]


def test_a_picture_that_has_changed_meanwhile_is_not_answered_for_the_first() -> None:
    engine = Engine([MISSED])
    assert ask(engine, SPARED, {**WHOLE, "mm_hashes": {"image": ["a", "c"]}}) == [MISSED]


def test_a_picture_sent_by_uuid_alone_is_refused_when_it_is_gone() -> None:
    with pytest.raises(ValueError, match="not cached"):
        ask(Engine([MISSED]), SPARED, ValueError("not cached"))


@pytest.mark.parametrize("prompt", [{}, {"mm_kwargs": {}}, {"mm_kwargs": {"image": []}}, WHOLE])
def test_a_prompt_that_lacks_nothing_is_told_apart(prompt: Mapping[str, Any]) -> None:
    assert not lacks_pictures(prompt)
    assert lacks_pictures(SPARED)
