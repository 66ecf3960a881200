"""What a request entered into the sender cache, and its withdrawal."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sppruner_server.hooks import install_withdrawal
from sppruner_server.request.record import recording

KNOWN, NEW = "known", "new"


class Cache:
    """Stands for vLLM's sender cache."""

    def __init__(self) -> None:
        self.keys = {KNOWN}
        self.invalidated: list[str] = []
        self.threads: set[int] = set()

    def is_cached_item(self, key: str) -> bool:
        return key in self.keys

    def get_and_update_item(self, item: object, key: str) -> object:
        self.keys.add(key)
        return item

    def invalidate(self, key: str) -> None:
        self.invalidated.append(key)
        self.threads.add(threading.get_ident())


class Renderer:
    """Stands for vLLM's BaseRenderer: one image that the engine knows and one that it does not."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.mm_processor_cache = Cache()
        self._mm_executor = ThreadPoolExecutor(max_workers=1)
        self.started, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()
        install_withdrawal(self)

    def _process_multimodal(self, *_, skip_mm_cache: bool = False):
        self.started.set()
        self.go_on.wait(120)
        if not skip_mm_cache:
            for key in (KNOWN, NEW, NEW):
                self.mm_processor_cache.get_and_update_item(None, key)
        if self.failure:
            raise self.failure
        return "rendered"

    def render(self, *args, **kwargs):
        return self._process_multimodal_async(*args, **kwargs)

    def settle(self) -> list[str]:
        """What was invalidated once all queued work is done."""
        self._mm_executor.shutdown(wait=True)
        return self.mm_processor_cache.invalidated


@pytest.fixture
def renderer():
    return Renderer()


def test_a_withdrawal_takes_out_what_was_new_and_leaves_what_the_engine_has(renderer):
    async def serve():
        with recording() as record:
            await renderer.render([1, 2])
            record.withdraw()

    asyncio.run(serve())
    assert renderer.settle() == [NEW]
    assert threading.get_ident() not in renderer.mm_processor_cache.threads


def test_a_rendering_that_fails_after_its_images_were_entered_can_be_withdrawn():
    renderer = Renderer(AssertionError("no place for the image"))

    async def serve():
        with recording() as record:
            with pytest.raises(AssertionError):
                await renderer.render([1, 2])
            record.withdraw()

    asyncio.run(serve())
    assert renderer.settle() == [NEW]


def test_a_request_withdraws_nothing_of_another_one(renderer):
    async def serve():
        with recording():
            await renderer.render([1, 2])
        with recording() as record:
            await renderer.render([1, 2])
            record.withdraw()

    asyncio.run(serve())
    assert renderer.settle() == []


def test_a_second_withdrawal_does_nothing(renderer):
    async def serve():
        with recording() as record:
            await renderer.render([1, 2])
            record.withdraw()
            record.withdraw()

    asyncio.run(serve())
    assert renderer.settle() == [NEW]


def test_a_rendering_that_bypasses_the_cache_has_nothing_to_withdraw(renderer):
    async def serve():
        with recording() as record:
            await renderer.render([1, 2], skip_mm_cache=True)
            record.withdraw()

    asyncio.run(serve())
    assert renderer.settle() == []


def test_a_withdrawal_waits_for_a_rendering_whose_client_left(renderer):
    renderer.go_on.clear()

    async def serve():
        with recording() as record:
            rendering = asyncio.ensure_future(renderer.render([1, 2]))
            await asyncio.to_thread(renderer.started.wait, 120)
            rendering.cancel()
            record.withdraw()
        renderer.go_on.set()

    asyncio.run(serve())
    assert renderer.settle() == [NEW]


def test_a_request_without_a_record_is_rendered_as_before(renderer):
    assert asyncio.run(renderer.render([1, 2])) == "rendered"
    assert renderer.settle() == []


def test_a_withdrawal_after_the_renderer_was_shut_down_does_no_harm(renderer):
    async def serve():
        with recording() as record:
            await renderer.render([1, 2])
            renderer.settle()
            record.withdraw()

    asyncio.run(serve())
    assert renderer.settle() == []
