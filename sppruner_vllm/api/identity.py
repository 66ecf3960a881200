"""The names of an image: the key that vLLM's caches know it by, and the one under which its own rows are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from vllm.multimodal.hasher import MultiModalHasher

from sppruner_vllm.planning.plan import ALGORITHM_VERSION, ReductionPlan
from sppruner_vllm.planning.planner import Sent
from sppruner_vllm.planning.videos import VIDEO_VERSION, VideoAsk
from sppruner_vllm.reading.token_table import digest
from sppruner_vllm.settings import settings


def identities(algorithm: Any, hashes: Sequence[str], plans: Sequence[ReductionPlan]) -> list[str]:
    """The key of each image in vLLM's three caches; upstream's own when nothing is reduced.

    Args:
        algorithm: vLLM's, by which it hashes items.
        hashes: upstream's keys. plans: one of each image.
    """
    reading = reading_name()
    return [
        MultiModalHasher.hash_kwargs(
            algorithm,
            image=key,
            retained=plan.retained,
            resized=torch.tensor(plan.resized or (), dtype=torch.int64),
            method=plan.method,
            stages=[[str(value) for value in astuple(stage)] for stage in plan.stages],
            version=ALGORITHM_VERSION,
            attention=settings().saliency_attention,
            rank_on=settings().rank_on,
            query=torch.tensor(plan.query_ids, dtype=torch.int64),
            **({"reading": reading} if reading and plan.query_ids else {}),
        )
        if plan.reduces
        else key
        for key, plan in zip(hashes, plans, strict=True)
    ]


def video_identities(algorithm: Any, asks: Sequence[VideoAsk]) -> list[str]:
    """The key of each video in vLLM's three caches; upstream's own where it stays whole whatever its size.

    Args:
        algorithm: as above.
    """
    reading = reading_name()
    return [
        MultiModalHasher.hash_kwargs(
            algorithm,
            video=ask.key,
            budget=repr(ask.budget),
            version=f"{ALGORITHM_VERSION} {VIDEO_VERSION}",
            attention=settings().saliency_attention,
            rank_on=settings().rank_on,
            query=torch.tensor(ask.query_ids, dtype=torch.int64),
            **({"reading": reading} if reading and ask.query_ids else {}),
        )
        if ask.reduces
        else ask.key
        for ask in asks
    ]


def video_encoded_as(algorithm: Any, key: str) -> str:
    """A name for what the encoder is to see of a video, whatever is asked of it. Args: as above; upstream's key."""
    name: str = MultiModalHasher.hash_kwargs(algorithm, video=key)
    return name


def told_apart(algorithm: Any, hashes: Sequence[str], told: Sequence[str]) -> list[str]:
    """The keys of images or videos, others for those whose selection is to be told: no cache may spare the worker that.

    Args:
        algorithm, hashes: as above. told: names of the selections, empty where nobody asked.
    """
    return [
        MultiModalHasher.hash_kwargs(algorithm, image=key, told=name) if name else key
        for key, name in zip(hashes, told, strict=True)
    ]


def question_name(ids: Sequence[int]) -> str:
    """The same for queries of the same ids; empty for none."""
    return blake2b(repr(tuple(ids)).encode(), digest_size=16).hexdigest() if ids else ""


def reading_name() -> str:
    """What a question is read by, as the operator has it; empty where its word embeddings are compared."""
    return _reading(settings().question_depth, settings().state_table)


@cache
def _reading(depth: float | None, table: Path | None) -> str:
    """What a question is read by before it steers a selection; empty where its word embeddings do."""
    if table is not None:
        return f"words and {digest(table)}"
    if depth is None:
        return "as usual"
    return f"words and {depth}" if depth else ""


def encoded_as(algorithm: Any, sent: Sequence[Sent], plans: Sequence[ReductionPlan]) -> list[str]:
    """A name for what the encoder is to see of each image, whatever is asked of it.

    Args:
        algorithm: as above. sent: the images. plans: one of each.
    """
    return [
        MultiModalHasher.hash_kwargs(algorithm, image=image.key, grid=repr((*image.grid, *(plan.resized or ()))))
        for image, plan in zip(sent, plans, strict=True)
    ]
