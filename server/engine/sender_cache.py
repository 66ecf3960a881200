"""Takes back what a refused request entered into vLLM's sender cache, so that its images can be sent again.

Rendering an image makes an API process believe that the engine has it. When the request is then refused, the engine
has not, and the next request with the same image ends in an error (`MultiModalCacheMissError`, vLLM 0.32 and 0.33,
multimodal/cache/lru.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from ..request.record import current_record


class SenderWatch:
    """What each rendering enters into the sender cache, and its withdrawal by the record of the request."""

    def __init__(self, renderer: Any) -> None:
        """Args: renderer: vLLM's BaseRenderer, with a sender cache.

        Its `_mm_executor` has a single thread, the only one that works on the cache, so that a withdrawal queued there
        runs between renderings.
        """
        self._cache = renderer.mm_processor_cache
        self._enter = self._cache.get_and_update_item
        self._drop = self._cache.invalidate
        self._executor = renderer._mm_executor
        self._process = renderer._process_multimodal
        self._noted: list[str] = []  # what the rendering in progress has entered

    def enter(self, item: Any, key: str) -> Any:
        """In place of the cache's `get_and_update_item`."""
        new = not self._cache.is_cached_item(key)
        entry = self._enter(item, key)
        if new:
            self._noted.append(key)
        return entry

    def drop(self, key: str) -> None:
        """In place of the cache's `invalidate`, which vLLM calls from its event loop: a rendering that has found an
        item must not lose it before it has taken it.
        """
        self._between_renderings(self._drop, key)

    async def process(self, *args: Any, **kwargs: Any) -> Any:
        """In place of the renderer's `_process_multimodal_async`; called in the task of the request."""
        entered: list[str] = []

        def work() -> Any:
            self._noted.clear()
            try:
                return self._process(*args, **kwargs)
            finally:
                entered.extend(self._noted)

        def forget() -> None:
            for key in entered:
                self._drop(key)

        if (record := current_record()) is not None:
            record.withdrawals.append(partial(self._between_renderings, forget))
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def _between_renderings(self, work: Callable[..., None], *args: Any) -> None:
        with suppress(RuntimeError):  # the executor is shut down, and with it the cache
            self._executor.submit(work, *args)
