"""Draws selections: what was kept of each picture, and why. Pillow alone."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from PIL import Image, ImageDraw, ImageFont

FOCUS: Final = (213, 94, 0)
CONTEXT: Final = (86, 180, 233)
"""Of the frames of kept tokens; the two that people with any colour vision tell apart, as in `explain`'s drawings."""

DIMMED: Final = 0.25
"""Light that is left of a dropped token."""

SIDE: Final = 640
"""Longest side of a panel, in pixels."""

MOST: Final = 16
"""Pictures that are drawn; a request may have more."""

_View = tuple[tuple[int, int], Sequence[int]]
"""A grid over the picture, (height, width), and the tokens that are its cells, row by row."""

_GAP: Final = 12
_LINE: Final = 24
_COLD, _WARM, _HOT = (0, 0, 4), (187, 55, 84), (252, 255, 164)


def as_png(pictures: Sequence[Image.Image | None], selections: Sequence[Mapping[str, Any]]) -> bytes:
    """One picture below the other: kept tokens, saliency, relevance; each once for every grid of its tokens.

    Args:
        pictures: as they were sent, None for one whose pixels are not known.
        selections: as selection.py describes them.
    """
    rows = [_row(*pair) for pair in list(zip(pictures, selections, strict=True))[:MOST]] or [_lettered("no picture")]
    sheet = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)), "white")
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()


def _row(picture: Image.Image | None, selection: Mapping[str, Any]) -> Image.Image:
    views = _views(selection)
    height, width = max((grid for grid, _ in views), key=math.prod)
    shown = Image.new("RGB", (width * 28, height * 28), "grey") if picture is None else picture.convert("RGB")
    scale = SIDE / max(shown.size)
    shown = shown.resize((max(1, round(shown.width * scale)), max(1, round(shown.height * scale))))
    panels = {_counts(selection): _beside([_with_frames(shown, view, selection) for view in views])}
    for name in ("saliency", "relevance"):
        if selection[name] is not None:
            gate = f" (gate {selection['gate']})" if name == "relevance" else ""
            panels[f"{name}{gate}"] = _beside([_heat(shown, view, selection[name]) for view in views])
    titled = [_titled(title, panel) for title, panel in panels.items()]
    row = Image.new("RGB", (sum(panel.width + _GAP for panel in titled) + _GAP, titled[0].height + _GAP), "white")
    row.paste(_beside(titled), (_GAP, 0))
    return row


def _views(selection: Mapping[str, Any]) -> list[_View]:
    if selection["pieces"] is None:
        height, width = selection["grid"]
        return [((height, width), range(height * width))]
    return [((piece["grid"][0], piece["grid"][1]), piece["tokens"]) for piece in selection["pieces"]]


def _beside(panels: Sequence[Image.Image]) -> Image.Image:
    """Side by side, all of one height."""
    width = sum(panel.width for panel in panels) + (len(panels) - 1) * _GAP
    sheet = Image.new("RGB", (width, panels[0].height), "white")
    left = 0
    for panel in panels:
        sheet.paste(panel, (left, 0))
        left += panel.width + _GAP
    return sheet


def _titled(title: str, panel: Image.Image) -> Image.Image:
    sheet = Image.new("RGB", (panel.width, _LINE + panel.height), "white")
    sheet.paste(_lettered(title, panel.width), (0, 0))
    sheet.paste(panel, (0, _LINE))
    return sheet


def _counts(selection: Mapping[str, Any]) -> str:
    focus = len(selection["focus"] or ())
    parts = f": {focus} focus, {selection['retained'] - focus} context" if focus else ""
    return f"{selection['retained']} of {selection['original']} tokens{parts}"


def _with_frames(picture: Image.Image, view: _View, selection: Mapping[str, Any]) -> Image.Image:
    """The picture with dropped tokens dark and kept ones framed."""
    (height, width), tokens = view
    columns, rows = (_edges(side, count) for side, count in ((picture.width, width), (picture.height, height)))
    drawn = picture.point(lambda level: int(level * DIMMED))
    pen = ImageDraw.Draw(drawn)
    kept, focus = set(selection["kept"]), set(selection["focus"] or ())
    for cell, token in enumerate(tokens):
        if token not in kept:
            continue
        (left, right), (top, bottom) = columns[cell % width], rows[cell // width]
        drawn.paste(picture.crop((left, top, right, bottom)), (left, top))
        pen.rectangle((left, top, right - 1, bottom - 1), outline=FOCUS if token in focus else CONTEXT)
    return drawn


def _edges(side: int, count: int) -> list[tuple[int, int]]:
    """First pixel of each cell, and the one behind its last; at least one of each."""
    edges = [side * place // count for place in range(count + 1)]
    return [(start, max(start + 1, end)) for start, end in pairwise(edges)]


def _heat(picture: Image.Image, view: _View, values: Sequence[float]) -> Image.Image:
    """Numbers in [0, 1], one a token, in colours over the picture in grey."""
    (height, width), tokens = view
    map_ = Image.new("RGB", (width, height))
    map_.putdata([_colour(values[token]) for token in tokens])
    heat = map_.resize(picture.size, Image.Resampling.NEAREST)
    return Image.blend(picture.convert("L").convert("RGB"), heat, 0.7)


def _colour(value: float) -> tuple[int, int, int]:
    lower, upper, share = (_COLD, _WARM, value * 2) if value < 0.5 else (_WARM, _HOT, value * 2 - 1)
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(lower, upper, strict=True))
    return red, green, blue


def _lettered(text: str, width: int = 300) -> Image.Image:
    line = Image.new("RGB", (width, _LINE), "white")
    ImageDraw.Draw(line).text((0, 4), text, fill="black", font=ImageFont.load_default(14))
    return line
