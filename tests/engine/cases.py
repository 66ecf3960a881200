"""Prompts and pictures of the engine tests, and how to put them to an engine.

Imported by the tests and by the script that runs stock vLLM, so that both sides ask exactly the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

Size = tuple[int, int]


def picture(size: Size, seed: int) -> Image.Image:
    """A seeded picture of smooth blobs, so that neighbouring visual tokens are alike and regions differ."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (9, 9, 3), dtype=np.uint8))
    return coarse.resize(size, Image.Resampling.BICUBIC)


def page(size: Size, seed: int) -> Image.Image:
    """White paper with a coloured bar and lines of print, as a screen or a scan has them: many tokens are the same."""
    random = np.random.default_rng(seed)
    paper = Image.new("RGB", size, (255, 255, 255))
    pen = ImageDraw.Draw(paper)
    pen.rectangle((0, 0, size[0], 27), fill=tuple(random.integers(0, 200, 3).tolist()))
    for line in range(2, size[1] // 28, 3):
        words = random.integers(0, 999, max(1, size[0] // 60)).astype(str)
        pen.text((14, 28 * line + 8), " ".join(words), fill=(0, 0, 0), font_size=18)
    return paper


@dataclass(frozen=True)
class Case:
    """One conversation. `turns` alternate user and assistant; a user turn is text with pictures before it."""

    turns: tuple[tuple[str, tuple[Size, ...]], ...]
    seed: int = 0

    def images(self) -> list[Image.Image]:
        sizes = [size for _, sizes in self.turns for size in sizes]
        return [picture(size, self.seed * 100 + index) for index, size in enumerate(sizes)]

    def messages(self, images: list[Any] | None = None) -> list[dict[str, Any]]:
        """OpenAI messages with PIL pictures."""
        left = iter(self.images() if images is None else images)
        messages: list[dict[str, Any]] = []
        for index, (text, sizes) in enumerate(self.turns):
            if index % 2:
                messages.append({"role": "assistant", "content": text})
                continue
            parts: list[dict[str, Any]] = [{"type": "image_pil", "image_pil": next(left)} for _ in sizes]
            messages.append({"role": "user", "content": [*parts, {"type": "text", "text": text}]})
        return messages


class Mixed(Case):
    """A conversation about pages and other pictures in turn."""

    def images(self) -> list[Image.Image]:
        sizes = [size for _, sizes in self.turns for size in sizes]
        return [(picture if index % 2 else page)(size, self.seed * 100 + index) for index, size in enumerate(sizes)]


SQUARE, PORTRAIT, LANDSCAPE, STRIP = (336, 336), (224, 448), (504, 252), (56, 840)

REDUCED = (
    Case((("what is the colour of the cat", (SQUARE,)),), 1),
    Case((("which picture shows more trees", (PORTRAIT, LANDSCAPE)),), 2),
    Case((("how many", (LANDSCAPE, STRIP, SQUARE)),), 3),
    Case((("is there a dog", (PORTRAIT,)), ("yes there is", ()), ("where is it", ())), 4),
    Case((("first", (STRIP,)), ("good", ()), ("and what is on the left of this one", (PORTRAIT, SQUARE))), 5),
)
RATIOS = (0.5, 0.222, 0.06)

MIXED = tuple(Mixed(case.turns, 700 + case.seed) for case in REDUCED)

STOCK = (
    Case((("what is a cat", ()),), 10),
    Case((("tell me about the sea", ()), ("it is blue", ()), ("why", ())), 11),
    *(
        Case(((f"question number {n}", (size,)),), 20 + n)
        for n, size in enumerate((SQUARE, PORTRAIT, LANDSCAPE, STRIP))
    ),
    *(
        Case(((f"compare these {n}", (a, b)),), 30 + n)
        for n, (a, b) in enumerate(((SQUARE, PORTRAIT), (PORTRAIT, LANDSCAPE), (STRIP, SQUARE), (LANDSCAPE, LANDSCAPE)))
    ),
    *(Case(((f"which of the three {n}", (SQUARE, PORTRAIT, LANDSCAPE)),), 40 + n) for n in range(3)),
    *(
        Case(((f"look {n}", (size,)), ("i see", ()), ("and now", ())), 50 + n)
        for n, size in enumerate((PORTRAIT, LANDSCAPE, SQUARE))
    ),
    *(
        Case(((f"one {n}", (a,)), ("fine", ()), ("two", (b,))), 60 + n)
        for n, (a, b) in enumerate(((SQUARE, LANDSCAPE), (PORTRAIT, STRIP), (LANDSCAPE, PORTRAIT), (STRIP, STRIP)))
    ),
)
assert len(STOCK) == 20

FAMILY_STOCK = STOCK[::2]
"""Each kind of conversation once or twice, for tests that several families go through."""
