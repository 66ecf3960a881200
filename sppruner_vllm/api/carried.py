"""What rides through vLLM's processor kwargs to our hooks, under a key that no other hook sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import torch

from sppruner_vllm import wire
from sppruner_vllm.planning.plan import ReductionPlan
from sppruner_vllm.settings import settings

from .identity import question_name
from .videos import AskedVideo

PLANNED: Final = "sppruner_planned"


@dataclass(frozen=True, slots=True)
class Planned:
    """What was planned of a request.

    plans, pictures: of the images being processed; what the encoder will see of each is the same for equal pictures.
    told: names under which their selections are remembered, empty where nobody asked.
    hashes: of every item, by modality, as vLLM's caches get them.
    profiling: the request is vLLM's own, which measures what the largest one takes.
    videos: what is asked of the videos being processed; none of a family that knows nothing of them.
    """

    plans: tuple[ReductionPlan, ...]
    pictures: tuple[str, ...]
    told: tuple[str, ...]
    hashes: dict[str, list[str]]
    profiling: bool
    videos: tuple[AskedVideo, ...] = ()

    @property
    def names(self) -> dict[str, Sequence[str]]:
        """By modality, what the pixels of each item are kept by; empty where they are not."""
        videos = {"video": [video.name for video in self.videos]} if self.videos else {}
        return {"image": self.pictures, **videos}


def planned_in(kwargs: Mapping[str, Any]) -> Planned:
    """What was planned, in kwargs that carry it."""
    return cast("Planned", kwargs[PLANNED])


def without_plan(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Kwargs as upstream knows them: it keys a cache of loaded processors by them."""
    return {key: value for key, value in kwargs.items() if key != PLANNED}


def orders(planned: Planned) -> list[wire.Order]:
    """What the worker is told of each image."""
    named = settings().reads_questions
    return [
        wire.Order(
            plan.encoded,
            plan.retained,
            plan.stages,
            torch.tensor(plan.query_ids, dtype=torch.int64),
            planned.profiling,
            picture,
            question_name(plan.query_ids) if named else "",
            told,
        )
        for plan, picture, told in zip(planned.plans, planned.pictures, planned.told, strict=True)
    ]
