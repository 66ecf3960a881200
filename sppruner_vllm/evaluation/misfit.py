"""How far visual tokens lie from the words for what they show, at the language model's input.

For every visual token that shows a thing of the demo's world, its nearest text neighbours by cosine are looked up: once
among the word embeddings, once among the states that each layer gives the words of a list of texts. A token is named
when a name of its thing is among the nearest. Real models name few tokens by word embeddings and many by the states of
their middle layers (LatentLens, arXiv 2602.00462).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import normalize

from .demo_dataset import what_draws_scenes
from .engineless_model import EnginelessModel

NEAREST: Final = 5
"""Neighbours among which a name counts, as LatentLens shows its judge."""
EMBEDDINGS: Final = "word embeddings"
_CHUNK: Final = 512


@dataclass(frozen=True, slots=True)
class Fit:
    """One list of text neighbours.

    source: EMBEDDINGS, or "layer n", counted from 1. first, named: share of visual tokens with a name of their thing as
    the nearest, and among the nearest. chance: `named` when every token is judged by another token's names.
    cosine: mean over tokens of the largest.
    """

    source: str
    first: float
    named: float
    chance: float
    cosine: float


@dataclass(frozen=True, slots=True)
class Misfit:
    """fits: word embeddings first, then the layers. tokens: visual tokens judged. words: of the text list.

    centred: whether the mean of all rows was taken from the rows, and that of all neighbours from the neighbours.
    """

    model: str
    tokens: int
    words: int
    centred: bool
    fits: tuple[Fit, ...]


@dataclass(frozen=True, slots=True)
class _Neighbours:
    """states: (M, D). words: what each stands for, M of them."""

    states: Tensor
    words: Sequence[str]


def measure(
    model: str, *, scenes: int, texts: int, seed: int, centred: bool, progress: Callable[[int, int], None]
) -> Misfit:
    """Look at so many scenes through a checkpoint.

    Args:
        model: folder or hub name of a Qwen2.5-VL. scenes: pictures to look at. texts: descriptions whose words are
            neighbours. seed: of both. centred: see `Misfit`. progress: told how many steps of how many are done.

    Raises:
        ValueError: no token of the scenes shows a thing.
        DatasetError: what draws the scenes is not installed.
    """
    with what_draws_scenes():
        from sppruner_vllm.demo.world.naming import names_of, scene, telling
    plain = EnginelessModel(model)
    total = scenes + texts
    rows, names = [], []
    for index in range(scenes):
        picture, shown = scene(seed, index)
        (seen,) = plain.see([picture])
        for place, known in names_of(shown).items():
            rows.append(seen.rows[place])
            names.append(known)
        progress(index + 1, total)
    if not rows:
        raise ValueError("no visual token of these scenes shows a thing")
    layers: list[list[Tensor]] = []
    words: list[str] = []
    for index in range(texts):
        said, states = plain.read(telling(seed, index))
        layers.append(states)
        words += said
        progress(scenes + index + 1, total)
    sources = {EMBEDDINGS: _Neighbours(*plain.vocabulary())}
    for number, parts in enumerate(zip(*layers, strict=True), start=1):
        sources[f"layer {number}"] = _Neighbours(torch.cat(parts), words)
    visual = torch.stack(rows)
    fits = tuple(_fit(source, visual, names, found, seed, centred=centred) for source, found in sources.items())
    return Misfit(model, len(rows), len(words), centred, fits)


def _fit(
    source: str, rows: Tensor, names: Sequence[frozenset[str]], found: _Neighbours, seed: int, *, centred: bool
) -> Fit:
    states = found.states
    if centred:
        rows, states = rows - rows.mean(0), states - states.mean(0)
    rows, states = normalize(rows, dim=-1), normalize(states, dim=-1)
    nearest: list[list[str]] = []
    largest = 0.0
    for part in rows.split(_CHUNK):
        values, places = (part @ states.T).topk(min(NEAREST, len(states)))
        largest += values[:, 0].sum().item()
        nearest += [[found.words[place] for place in row] for row in places.tolist()]
    others = list(names)
    random.Random(seed).shuffle(others)  # noqa: S311 (a game of dice, not a secret)
    return Fit(
        source=source,
        first=_share(names, [near[:1] for near in nearest]),
        named=_share(names, nearest),
        chance=_share(others, nearest),
        cosine=largest / len(rows),
    )


def _share(names: Sequence[frozenset[str]], nearest: Sequence[Sequence[str]]) -> float:
    """Share of the visual tokens with a name among their neighbours."""
    return sum(not known.isdisjoint(near) for known, near in zip(names, nearest, strict=True)) / len(names)
