"""A scene: a layout drawn on its background."""

from __future__ import annotations

from PIL import Image

from .backgrounds import background
from .layout import Layout
from .sprites import draw, paper


def render(layout: Layout, *, held_out: bool = False, other_photos: bool = False) -> Image.Image:
    """The picture of a layout, RGB.

    Args:
        held_out: use the handwritten digits that training never shows. other_photos: and its photographs neither.
    """
    picture = background(layout.seed, layout.size, held_out=other_photos)
    if layout.paper is not None:
        left, top, width, height = layout.paper
        picture.paste(paper(layout.items[0]), (left, top, left + width, top + height))
    for item in sorted(layout.items, key=lambda item: item.kind != "clutter"):
        sprite = draw(item, held_out=held_out)
        picture.paste(sprite, item.box[:2], sprite)
    return picture
