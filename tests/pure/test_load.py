"""What waits in a process, and the default ratio that its load has come to."""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import copy_context

import pytest
from sppruner_server.keys.current import bounds_in_force, default_has_slid, limits_in_force, use_key
from sppruner_server.keys.key import Key, digest_of
from sppruner_server.request import load
from sppruner_server.request.record import recording

from sppruner_vllm.request.handed_over import DEFAULT_RATIO, RATIO_BOUNDS
from sppruner_vllm.settings import Settings, settings

CHOSEN = Settings(load_floor_ratio=0.2, load_begins=2, load_ends=4)


@pytest.fixture(autouse=True)
def nobody_waits() -> Iterator[None]:
    yield
    load.follow_load(Settings(), 1)


def follow(processes: int = 1) -> load.Load:
    found = load.follow_load(CHOSEN, processes)
    assert found is not None
    return found


def test_without_a_floor_nothing_is_followed() -> None:
    assert load.follow_load(Settings(), 1) is None
    with load.waiting_while(True):
        assert load.default_in_force() is None
    assert limits_in_force() is settings()


def test_what_is_rendered_waits_as_what_the_engine_has_does() -> None:
    one = follow()
    for _ in range(3):
        one.enter()
    assert load.default_in_force() == 0.6
    with load.waiting_while(False):
        assert load.default_in_force() == 0.6
    with load.waiting_while(True):
        assert load.default_in_force() == 0.2
    for _ in range(3):
        one.leave()
    assert load.default_in_force() is None


def test_what_fails_while_it_is_rendered_waits_no_longer() -> None:
    one = follow()
    for _ in range(3):
        with pytest.raises(ValueError, match="bad"), load.waiting_while(True):
            raise ValueError("bad")
    for _ in range(2):
        one.enter()
    assert load.default_in_force() is None


def test_processes_share_the_operators_numbers_out() -> None:
    one = follow(processes=2)
    one.enter()
    assert load.default_in_force() is None
    one.enter()
    assert load.default_in_force() == 0.2


def test_a_request_keeps_the_default_that_it_came_upon() -> None:
    one = follow()
    with recording():
        before = limits_in_force()
        for _ in range(4):
            one.enter()
        assert limits_in_force() is before
        assert not default_has_slid()
        assert bounds_in_force() == {}
    with recording():
        assert limits_in_force().keep_ratio == 0.2
        for _ in range(4):
            one.leave()
        assert limits_in_force().keep_ratio == 0.2
        assert bounds_in_force()[DEFAULT_RATIO] == (0.2,)


@pytest.mark.parametrize(("most", "slid"), [(0.5, True), (0.2, False)])
def test_the_bounds_of_a_key_hold_under_load_too(most: float, slid: bool) -> None:
    one = follow()
    for _ in range(4):
        one.enter()

    def serve() -> None:
        use_key(Key(name="a", sha256=digest_of("a"), min_keep_ratio=0.2, max_keep_ratio=most))
        with recording():
            assert limits_in_force().keep_ratio == 0.2
            assert default_has_slid() is slid
            assert (DEFAULT_RATIO in bounds_in_force()) is slid
            assert RATIO_BOUNDS in bounds_in_force()

    copy_context().run(serve)
