"""The keys in force: those of the file as it is now, and those that were given at the start.

The latter come from SPPRUNER_API_KEYS, or from vLLM's own `--api-key` and VLLM_API_KEY.

Every API process has a ring of its own and looks at the file itself, so that nothing has to be told to any of them.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from sppruner_vllm.settings import Settings

from .file import read_keys
from .key import BadKeys, Key, check, find, plain_keys

LOOK_EVERY: Final = 1.0
"""Seconds after which a request has the file looked at again."""

logger = logging.getLogger("vllm.sppruner")

Stamp = tuple[int, int, int]


class KeyRing:
    """The keys of a server; empty when none were given, which leaves it open to everyone."""

    def __init__(self, limits: Settings, vllm_keys: Iterable[str] = ()) -> None:
        """Args: limits: the operator's settings. vllm_keys: of vLLM's own `--api-key` or VLLM_API_KEY.

        Raises:
            BadKeys: a key cannot be used; the server must not start.
        """
        secret = limits.api_keys.get_secret_value() if limits.api_keys is not None else ""
        listed = [key.strip() for key in secret.split(",") if key.strip()]
        self._limits = limits
        self._file: Path | None = limits.api_keys_file
        self._given = (*plain_keys(vllm_keys, "api-key"), *plain_keys(listed, "environment"))
        self._stamp = None if self._file is None else _look(self._file)
        self._keys = self._read()
        self._looked = time.monotonic()

    def __bool__(self) -> bool:
        return bool(self._keys)

    def find(self, presented: Iterable[bytes]) -> Key | None:
        """The key that one of the presented secrets is, by the file as it is now."""
        if time.monotonic() - self._looked >= LOOK_EVERY:
            self.refresh()
        return find(self._keys, presented)

    def refresh(self) -> None:
        """Take the file's keys if it has changed; a file that cannot be used changes nothing but the log."""
        self._looked = time.monotonic()
        if self._file is None or (stamp := _look(self._file)) == self._stamp:
            return
        self._stamp = stamp
        try:
            self._keys = self._read()
        except BadKeys as problem:
            logger.error("the keys stay as they were: %s", problem)
        else:
            logger.info("%d API keys are in force", len(self._keys))

    def _read(self) -> tuple[Key, ...]:
        written = () if self._file is None else read_keys(self._file, self._limits)
        digests = {key.sha256 for key in written}
        keys = (*written, *(key for key in self._given if key.sha256 not in digests))
        check(keys, self._limits)
        return keys


def _look(file: Path) -> Stamp | None:
    """What tells one state of a file from another; a link is followed, as Kubernetes swaps one."""
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
