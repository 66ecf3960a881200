"""Draws a selection over its image: what was kept and why. Knows no model: rows of any host can be shown."""

from __future__ import annotations

import io
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray
from PIL import Image

from sppruner_vllm.reduction import Selection

FOCUS: Final = "#D55E00"
CONTEXT: Final = "#56B4E9"
_DIMMED: Final = 0.72
"""Opacity of the black over a dropped token."""

_DPI: Final = 130
_PANEL: Final = 4.6
"""Longest side of a panel, in inches."""


def draw(image: Image.Image, grid: tuple[int, int], selection: Selection, title: str = "") -> Image.Image:
    """Four panels: the image, the kept tokens, saliency and relevance, with a legend and the counts.

    Args:
        image: as sent; the token grid is laid over it whatever its size.
        grid: (height, width) in tokens.
        selection: of that grid.
        title: above the panels, for the question.

    Raises:
        ValueError: the selection is another grid's.
    """
    if selection.saliency.shape[0] != grid[0] * grid[1]:
        raise ValueError(f"a grid of {grid[0]} x {grid[1]} does not match {selection.saliency.shape[0]} tokens")
    shrink = _PANEL / max(image.size)
    size = (2 * image.width * shrink + 1.6, 2 * image.height * shrink + 1.5)
    figure = Figure(figsize=(max(size[0], 7.5), size[1]), dpi=_DPI, layout="constrained")
    picture = np.asarray(image.convert("RGB"))
    (plain, kept), (salient, relevant) = figure.subplots(2, 2)
    for axes, name in ((plain, "image"), (kept, "kept tokens"), (salient, "saliency"), (relevant, "relevance")):
        axes.imshow(picture)
        axes.set_title(name, fontsize="medium")
        axes.set_axis_off()
    _kept(kept, picture, grid, selection)
    _heat(figure, salient, picture, selection.saliency.cpu().numpy().reshape(grid))
    if _gate(selection) == "open" and selection.relevance is not None:
        _heat(figure, relevant, picture, selection.relevance.cpu().numpy().reshape(grid))
    else:
        _grey(relevant, picture)
        relevant.set_title(f"relevance: {_gate(selection)}", fontsize="medium")
    handles = [
        Patch(facecolor="none", edgecolor=FOCUS, linewidth=2, label="focus"),
        Patch(facecolor="none", edgecolor=CONTEXT, linewidth=2, label="context"),
        Patch(facecolor="#333333", label="dropped"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, title=caption(grid, selection))
    if title:
        figure.suptitle(title, wrap=True)
    return _rendered(figure)


def caption(grid: tuple[int, int], selection: Selection) -> str:
    """The counts in one line."""
    kept, focus = selection.kept.shape[0], int(selection.is_focus.sum())
    return (
        f"N = {grid[0] * grid[1]} visual tokens ({grid[0]} by {grid[1]}), K = {kept} kept: "
        f"{focus} focus, {kept - focus} context. Relevance: {_gate(selection)}."
    )


def _gate(selection: Selection) -> str:
    if selection.relevance is None:
        return "not looked at"
    return "open" if bool((selection.relevance > 0).any()) else "gate shut"


def _kept(axes: Axes, picture: NDArray[np.uint8], grid: tuple[int, int], selection: Selection) -> None:
    """Dim what was dropped, frame what was kept."""
    height, width = picture.shape[:2]
    shade = np.zeros((*grid, 4))
    shade[..., 3] = _DIMMED
    kept = selection.kept.cpu().numpy()
    shade.reshape(-1, 4)[kept, 3] = 0
    axes.imshow(shade, extent=_extent(picture), interpolation="nearest")
    cell = (width / grid[1], height / grid[0])
    focus = selection.is_focus.cpu().numpy()
    for tokens, colour in ((kept[~focus], CONTEXT), (kept[focus], FOCUS)):
        frames = [
            Rectangle((token % grid[1] * cell[0] - 0.5, token // grid[1] * cell[1] - 0.5), *cell) for token in tokens
        ]
        axes.add_collection(PatchCollection(frames, facecolor="none", edgecolor=colour, linewidth=1))


def _heat(figure: Figure, axes: Axes, picture: NDArray[np.uint8], values: NDArray[np.float32]) -> None:
    """Values in [0, 1] over the image in grey."""
    _grey(axes, picture)
    heat = axes.imshow(
        values, extent=_extent(picture), interpolation="nearest", cmap="inferno", alpha=0.75, vmin=0, vmax=1
    )
    figure.colorbar(heat, ax=axes, fraction=0.04, pad=0.02)


def _grey(axes: Axes, picture: NDArray[np.uint8]) -> None:
    axes.imshow(picture.mean(2), cmap="gray", vmin=0, vmax=255)


def _extent(picture: NDArray[np.uint8]) -> tuple[float, float, float, float]:
    height, width = picture.shape[:2]
    return -0.5, width - 0.5, height - 0.5, -0.5


def _rendered(figure: Figure) -> Image.Image:
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return Image.open(file).convert("RGB")
