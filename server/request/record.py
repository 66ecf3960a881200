"""What is known of the request being served, shared by the route, the renderer gate and the outcome counter.

A context variable carries it: vLLM's handlers run in tasks made from the route's task, which inherit the context and so
the very same object. Routes that are not ours have no record.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sppruner_vllm.metrics.labels import Outcome
from sppruner_vllm.pictures.budget import PixelBudget
from sppruner_vllm.planning.accounting import VIDEOS, VisualTokens
from sppruner_vllm.planning.telling import AskedAbout
from sppruner_vllm.request.handed_over import Telling
from sppruner_vllm.settings import Settings
from sppruner_vllm.told import Told, name_of_frame

UNDER_LOAD: Final = "under_load"
"""Stands in a usage only where the load has changed what its request was given."""


@dataclass(slots=True)
class RequestRecord:
    """Filled in while the request is served.

    limits: the settings as they are for this request; None until somebody asks (keys/current.py).
    under_load: a picture of it is given the default ratio, and that has slid.
    fields: reduction fields as the route admitted them, for the renderer: some of vLLM's handlers lose them on the way.
    pictures: how many each conversation of the body has. begun: conversations whose rendering has begun.
    pixels: what may be decoded for all its conversations; None until one of several is rendered.
    dry: the prompt is rendered to be counted, and never reaches the engine.
    accounts: one per rendered prompt with images; a batch renders several.
    afterwards: each is called once the whole answer has gone out, and never for one that was refused or cut short.
    withdrawals: each takes out of vLLM's sender cache what one rendering entered.
    outcome: set where the HTTP status does not tell it (errors inside a stream, clients that left).
    refused_as: our error code of the refusal; None when it was not us that refused.
    arrived: seconds since the epoch, which is how vLLM notes its own times of a request.
    telling: what the selections of the request's pictures are remembered under; None where nobody asked for them.
    asked_about: these pictures. told: gives their selections by name, once the engine has begun to answer.
    selection: what is said of each of them beside the account; None until it is known. video_selections: of each video.
    """

    limits: Settings | None = None
    under_load: bool = False
    fields: Mapping[str, object] | None = None
    pictures: tuple[int, ...] = ()
    begun: int = 0
    pixels: PixelBudget | None = None
    dry: bool = False
    accounts: list[VisualTokens] = field(default_factory=list)
    withdrawals: list[Callable[[], None]] = field(default_factory=list)
    afterwards: list[Callable[[], None]] = field(default_factory=list)
    outcome: Outcome | None = None
    refused_as: str | None = None
    arrived: float = field(default_factory=time.time)
    telling: Telling | None = None
    asked_about: tuple[AskedAbout, ...] = ()
    told: Awaitable[Mapping[str, Told]] | None = None
    selection: list[dict[str, Any]] | None = None
    video_selections: list[dict[str, Any] | None] = field(default_factory=list)

    @property
    def visual_tokens(self) -> VisualTokens | None:
        """The account of the request's images and videos; None without any and until it is rendered."""
        if len(self.accounts) < 2:
            return self.accounts[0] if self.accounts else None
        original = sum(account.original for account in self.accounts)
        retained = sum(account.retained for account in self.accounts)
        ratios = {account.keep_ratio for account in self.accounts}
        reasons = [account.skipped_reason for account in self.accounts]
        return replace(
            self.accounts[0],
            original=original,
            retained=retained,
            keep_ratio=ratios.pop() if len(ratios) == 1 else round(retained / original, 6),
            skipped_reason=None if None in reasons else reasons[0],
            scopes=tuple(scope for account in self.accounts for scope in account.scopes),
            shrunk=sum(account.shrunk for account in self.accounts),
            images=tuple(image for account in self.accounts for image in account.images),
            videos=tuple(video for account in self.accounts for video in account.videos),
        )

    @property
    def names_of_frames(self) -> list[list[str]]:
        """What the selections of each video's frames are remembered under; none of a video that stays whole."""
        asked, tokens = self.telling, self.visual_tokens
        if asked is None or tokens is None:
            return []
        return [
            [name_of_frame(asked.name_of_video(i), frame) for frame in range(video.frames if video.reduced else 0)]
            for i, video in enumerate(tokens.videos)
        ]

    @property
    def account(self) -> dict[str, Any]:
        """What a usage says of the pictures and videos; of each video also its selection, where somebody asked."""
        usage = {} if self.visual_tokens is None else self.visual_tokens.as_usage()
        for video, selection in zip(usage.get(VIDEOS, ()), self.video_selections, strict=False):
            video["selection"] = selection
        return usage

    def as_usage(self) -> dict[str, Any]:
        """The object `visual_tokens` of the answer's usage, where the request has an account."""
        usage = self.account
        if self.under_load:
            usage[UNDER_LOAD] = True
        return usage if self.telling is None else {**usage, "selection": self.selection}

    def begin(self) -> tuple[int, int] | None:
        """The pictures of the conversation that is rendered next: place of the first among all, and their number.

        None where the request has one conversation, which may be rendered several times.
        """
        if len(self.pictures) < 2:
            return None
        place, self.begun = self.begun, self.begun + 1
        return sum(self.pictures[:place]), self.pictures[place]

    def withdraw(self) -> None:
        """Undo what this request entered into the sender cache; to be called before the refusal goes out."""
        while self.withdrawals:
            self.withdrawals.pop()()


_current: ContextVar[RequestRecord | None] = ContextVar("sppruner_request", default=None)


def current_record() -> RequestRecord | None:
    """The record of the request this task serves, None outside our routes."""
    return _current.get()


def note_pictures(counts: Iterable[int]) -> None:
    """How many pictures each conversation of the current request has."""
    if (record := current_record()) is not None:
        record.pictures = tuple(counts)


@contextmanager
def recording() -> Iterator[RequestRecord]:
    """A fresh record for the time one request is served."""
    record = RequestRecord()
    token = _current.set(record)
    try:
        yield record
    finally:
        _current.reset(token)
