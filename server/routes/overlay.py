"""Draws selections: what was kept of each picture, and why. Pillow alone."""

from __future__ import annotations

import io
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

_GAP: Final = 12
_LINE: Final = 24
_COLD, _WARM, _HOT = (0, 0, 4), (187, 55, 84), (252, 255, 164)


def as_png(pictures: Sequence[Image.Image | None], selections: Sequence[Mapping[str, Any]]) -> bytes:
    """One picture below the other: kept tokens, saliency, relevance.

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
    height, width = selection["grid"]
    shown = Image.new("RGB", (width * 28, height * 28), "grey") if picture is None else picture.convert("RGB")
    scale = SIDE / max(shown.size)
    shown = shown.resize((max(1, round(shown.width * scale)), max(1, round(shown.height * scale))))
    panels = {_counts(selection): with_frames(shown, selection)}
    for name in ("saliency", "relevance"):
        if selection[name] is not None:
            gate = f" (gate {selection['gate']})" if name == "relevance" else ""
            panels[f"{name}{gate}"] = _heat(shown, selection[name], (height, width))
    row = Image.new("RGB", (len(panels) * (shown.width + _GAP) + _GAP, shown.height + _LINE + _GAP), "white")
    for place, (title, panel) in enumerate(panels.items()):
        left = _GAP + place * (shown.width + _GAP)
        row.paste(panel, (left, _LINE))
        row.paste(_lettered(title, shown.width), (left, 0))
    return row


def _counts(selection: Mapping[str, Any]) -> str:
    focus = len(selection["focus"] or ())
    parts = f": {focus} focus, {selection['retained'] - focus} context" if focus else ""
    return f"{selection['retained']} of {selection['original']} tokens{parts}"


def with_frames(picture: Image.Image, selection: Mapping[str, Any]) -> Image.Image:
    """The picture with dropped tokens dark and kept ones framed."""
    height, width = selection["grid"]
    columns, rows = (_edges(side, count) for side, count in ((picture.width, width), (picture.height, height)))
    drawn = picture.point(lambda level: int(level * DIMMED))
    pen = ImageDraw.Draw(drawn)
    focus = set(selection["focus"] or ())
    for token in selection["kept"]:
        (left, right), (top, bottom) = columns[token % width], rows[token // width]
        drawn.paste(picture.crop((left, top, right, bottom)), (left, top))
        pen.rectangle((left, top, right - 1, bottom - 1), outline=FOCUS if token in focus else CONTEXT)
    return drawn


def _edges(side: int, count: int) -> list[tuple[int, int]]:
    """First pixel of each cell, and the one behind its last; at least one of each."""
    edges = [side * place // count for place in range(count + 1)]
    return [(start, max(start + 1, end)) for start, end in pairwise(edges)]


def _heat(picture: Image.Image, values: Sequence[float], grid: tuple[int, int]) -> Image.Image:
    """Numbers in [0, 1] in colours over the picture in grey."""
    map_ = Image.new("RGB", (grid[1], grid[0]))
    map_.putdata([_colour(value) for value in values])
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
