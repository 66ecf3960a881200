"""Makes samples of this process cheap where they are kept in a file: a step of the engine brings some hundred.

prometheus_client asks the system for the process's number at each, to notice a fork, and writes what did not change.
Whom it asks is a parameter of its own (`MultiProcessValue`), and of a fork Python tells.
"""

from __future__ import annotations

import os


def spare_samples() -> None:
    """To be called before the first metric is made. A process without a folder of metrics writes none anyway."""
    from prometheus_client import values  # As it is imported it looks whether there is such a folder.

    if not getattr(values.ValueClass, "_multiprocess", False):
        return
    own = os.getpid()

    def forked() -> None:
        nonlocal own
        own = os.getpid()

    os.register_at_fork(after_in_child=forked)
    kept: type = values.MultiProcessValue(lambda: own)  # type: ignore[no-untyped-call] # has no annotations

    class Spared(kept):
        """A value that is written when it changes; a gauge that says when it was set, always."""

        def inc(self, amount: float) -> None:
            if amount:
                super().inc(amount)

        def set(self, value: float, timestamp: float | None = None) -> None:
            if timestamp is not None or value != self._value:
                super().set(value, timestamp)

    values.ValueClass = Spared
