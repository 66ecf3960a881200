"""What the server hands over beside a request's own fields, in types that JSON cannot make."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

RATIO_BOUNDS: Final = "ratio_bounds"
"""Processor kwarg by which the server hands over the bounds of a client; no field of a request."""


class RatioBounds(NamedTuple):
    """Smallest and largest keep ratio that a client may have, inside those of the operator; JSON cannot make one."""

    low: float
    high: float


ANY_RATIO: Final = RatioBounds(0.0, 1.0)

DEFAULT_RATIO: Final = "default_ratio"
"""Processor kwarg by which the server hands over a default that is not the operator's own; no field of a request."""


class DefaultRatio(NamedTuple):
    """The keep ratio of a request that names none; JSON cannot make one."""

    ratio: float


TELLING: Final = "sppruner_telling"
"""Processor kwarg by which the server has a worker remember what it selects for a request; no field of one."""


class Telling(NamedTuple):
    """What the selections of a request are remembered under, each by `name_of`; JSON cannot make one.

    request: of this request alone, so that its pictures are selected for anew and no cache has them.
    """

    request: str

    def name_of(self, image: int) -> str:
        """The name of an image's selection, by its place among the request's images."""
        return f"{self.request}/{image}"

    def name_of_video(self, video: int) -> str:
        """Of a video, by its place among them; the selections of its frames go by `told.name_of_frame`."""
        return f"{self.request}/video {video}"


HANDED_OVER: Final[Mapping[str, type]] = {RATIO_BOUNDS: RatioBounds, DEFAULT_RATIO: DefaultRatio, TELLING: Telling}
"""Every processor kwarg that comes from the server and from no client, and its type."""
