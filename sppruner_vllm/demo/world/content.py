"""What each visual token of a scene shows: the dense target that teaches the vision encoder.

Things come from the layout alone, so the language model can also be taught without drawing anything; how the background
looks is measured in the picture, or made up.
"""

from __future__ import annotations

import numpy as np

from sppruner_vllm.demo.vocabulary import FEATURE_INDEX, LIGHT, OBJECTS

from .layout import TOKEN, Item, Layout

_SEEN: tuple[float, float] = (0.06, 0.36)
"""A token shows nothing of an object of which it holds a smaller share than the first, all of it above the second."""


def content(layout: Layout, grid: int, picture: np.ndarray | None = None) -> np.ndarray:
    """(grid, grid, features) float32 in [0, 1]: how far each token shows each of `FEATURES`.

    Args:
        grid: visual tokens along the picture's side, fewer than size / TOKEN where the picture was shrunk.
        picture: (grid * TOKEN, grid * TOKEN, 3) uint8, the layout as drawn; None makes up how the background looks.
    """
    side = layout.size / grid
    shown = np.zeros((grid, grid, len(FEATURE_INDEX)), dtype=np.float32)
    for item in layout.items:
        rows, columns = _shares(item, 1, grid, side), _shares(item, 0, grid, side)
        strength = np.clip((np.outer(rows, columns) - _SEEN[0]) / (_SEEN[1] - _SEEN[0]), 0, 1)
        for feature in features(item):
            plane = shown[:, :, FEATURE_INDEX[feature]]
            np.maximum(plane, strength, out=plane)
        if item.kind != "clutter":
            shown[(*centre_token(item, side), FEATURE_INDEX["centre"])] = 1
    unasked = 1 - shown[:, :, : len(OBJECTS)].max(axis=2, keepdims=True)
    shown[:, :, FEATURE_INDEX["nothing"]] = 1 - shown.max(axis=2)
    light = _imagined(layout.seed, grid) if picture is None else _measured(picture, grid)
    shown[:, :, -len(LIGHT) :] = unasked * light
    return shown


def _measured(picture: np.ndarray, grid: int) -> np.ndarray:
    """(grid, grid, 4) mean colour and contrast of each token's pixels."""
    tokens = picture.reshape(grid, TOKEN, grid, TOKEN, 3).astype(np.float32) / 255
    contrast = tokens.std(axis=(1, 3)).mean(axis=-1, keepdims=True)
    return np.concatenate((tokens.mean(axis=(1, 3)), np.minimum(1, contrast * 4)), axis=-1)


def _imagined(seed: int, grid: int) -> np.ndarray:
    """A scene's own light, another one in every token."""
    dice = np.random.default_rng(seed)
    return np.clip(dice.random(4) + dice.normal(0, 0.25, (grid, grid, 4)), 0, 1)


def features(item: Item) -> tuple[str, ...]:
    """What a token that holds this item shows, its centre apart."""
    if item.kind == "shape":
        return item.name, item.colour
    if item.kind == "digit":
        return f"handwritten {item.name}", "digit"
    if item.kind == "clutter":
        return (item.name,)
    if item.kind in ("number", "cell"):
        return f"tens {item.name[0]}", f"units {item.name[1]}", "number"
    if item.kind == "bar":
        return (item.colour,)
    if item.kind == "word":
        return (item.name,)
    return item.name, "sign"


def covered(item: Item, grid: int, side: float) -> np.ndarray:
    """(grid, grid) bool, the tokens that show any of an item; at least the one at its centre.

    Args:
        side: pixels of the layout along a token's side.
    """
    area: np.ndarray = np.outer(_shares(item, 1, grid, side), _shares(item, 0, grid, side)) > _SEEN[0]
    area[centre_token(item, side)] = True
    return area


def centre_token(item: Item, side: float) -> tuple[int, int]:
    """Row and column of the token that holds an item's centre.

    Args:
        side: pixels of the layout along a token's side.
    """
    x, y = item.centre
    return int(y / side), int(x / side)


def _shares(item: Item, axis: int, grid: int, side: float) -> np.ndarray:
    """(grid,) the item's overlap with each row or column of tokens, as a share of the smaller of the two."""
    start, length = item.box[axis], item.box[axis + 2]
    edges = np.arange(grid) * side
    overlap = np.minimum(edges + side, start + length) - np.maximum(edges, start)
    shares: np.ndarray = np.clip(overlap, 0, None) / min(side, length)
    return shares
