"""Lets the metrics of this process ask for its number once, not at every sample.

prometheus_client asks the system each time, to notice a fork, and a step of the engine brings it some hundred samples.
Whom it asks is a parameter of its own (`MultiProcessValue`), and of a fork Python tells.
"""

from __future__ import annotations

import os


def know_own_number() -> None:
    """To be called before the first metric is made. A process without a folder of metrics asks nothing anyway."""
    from prometheus_client import values  # As it is imported it looks whether there is such a folder.

    if not getattr(values.ValueClass, "_multiprocess", False):
        return
    own = os.getpid()

    def forked() -> None:
        nonlocal own
        own = os.getpid()

    os.register_at_fork(after_in_child=forked)
    values.ValueClass = values.MultiProcessValue(lambda: own)  # type: ignore[no-untyped-call] # has no annotations
