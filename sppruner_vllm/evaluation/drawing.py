"""Draws a selection over its image: what was kept and why. Knows no model: rows of any host can be shown."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray
from PIL import Image

from sppruner_vllm.reduction import Selection

Panel = Literal["image", "kept", "saliency", "relevance"]
PANELS: Final[tuple[Panel, ...]] = ("image", "kept", "saliency", "relevance")

FOCUS: Final = "#D55E00"
CONTEXT: Final = "#56B4E9"
_DIMMED: Final = 0.72
"""Opacity of the black over a dropped token."""

_DPI: Final = 130
_PANEL: Final = 4.6
"""Longest side of a panel, in inches."""


def panels_of(names: Sequence[str]) -> tuple[Panel, ...]:
    """The panels of these names, in this order; all of them for none.

    Raises:
        ValueError: there is no such panel.
    """
    if unknown := [name for name in names if name not in PANELS]:
        raise ValueError(f"there is no panel {unknown[0]}; choose of {', '.join(PANELS)}")
    return tuple(panel for name in names for panel in PANELS if panel == name) or PANELS


def draw(
    image: Image.Image,
    grid: tuple[int, int],
    selection: Selection,
    title: str = "",
    panels: Sequence[Panel] = PANELS,
) -> Image.Image:
    """Panels side by side, four in two rows, with a legend and the counts.

    Args:
        image: as sent; the token grid is laid over it whatever its size.
        grid: (height, width) in tokens.
        selection: of that grid.
        title: above the panels, for the question.
        panels: the image itself, the kept tokens, saliency, relevance; at least one.

    Raises:
        ValueError: the selection is another grid's.
    """
    if selection.saliency.shape[0] != grid[0] * grid[1]:
        raise ValueError(f"a grid of {grid[0]} x {grid[1]} does not match {selection.saliency.shape[0]} tokens")
    rows, columns = (2, 2) if len(panels) == 4 else (1, len(panels))
    shrink = _PANEL / max(image.size)
    size = (columns * image.width * shrink + 1.6, rows * image.height * shrink + 1.5)
    figure = Figure(figsize=(max(size[0], 7.5), size[1]), dpi=_DPI, layout="constrained")
    picture = np.asarray(image.convert("RGB"))
    for panel, axes in zip(panels, figure.subplots(rows, columns, squeeze=False).flat, strict=True):
        axes.imshow(picture)
        axes.set_title(_name(panel, selection), fontsize="medium")
        axes.set_axis_off()
        if panel == "kept":
            _kept(axes, picture, grid, selection)
        elif panel == "saliency":
            _heat(figure, axes, picture, selection.saliency.cpu().numpy().reshape(grid))
        elif panel == "relevance" and selection.relevance is not None and _gate(selection) == "open":
            _heat(figure, axes, picture, selection.relevance.cpu().numpy().reshape(grid))
        elif panel == "relevance":
            _grey(axes, picture)
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


def _name(panel: Panel, selection: Selection) -> str:
    if panel == "kept":
        return "kept tokens"
    if panel == "relevance" and _gate(selection) != "open":
        return f"relevance: {_gate(selection)}"
    return panel


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
