"""What is timed: a Qwen2.5-VL of some shape, and a number of pictures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from sppruner_vllm.evaluation.encoder_flops import QWEN2_5_VL_3B, QWEN2_5_VL_7B
from sppruner_vllm.evaluation.prefill_flops import DecoderShape

BEFORE: Final = 15
"""Tokens in front of the picture: about a chat template's."""

QUESTION: Final = 24
AFTER: Final = QUESTION + 5
"""Tokens behind the picture: the question and what closes the turn."""

MERGE: Final = 2
"""Patches that one visual token is wide and high."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A Qwen2.5-VL. depth, vision_hidden, vision_heads, vision_intermediate: of the vision tower.

    whole: its blocks that look at the whole picture. window: side of a window in visual tokens.
    """

    language: DecoderShape
    depth: int = 32
    vision_hidden: int = 1280
    vision_heads: int = 16
    vision_intermediate: int = 3420
    whole: tuple[int, ...] = (7, 15, 23, 31)
    window: int = 4
    tied: bool = False

    def encoder_operations(self, tokens: int, survivors: int, block: int) -> int:
        """Operations of the tower for a picture of N tokens of which some go on behind a block; norms left out.

        The choice of the survivors is left out too.
        """
        patches, left, width = tokens * MERGE**2, survivors * MERGE**2, self.vision_hidden
        total = 2 * patches * width * 3 * 2 * 14**2
        for number in range(self.depth):
            whole, on = number in self.whole, left if block < number < self.whole[-1] else patches
            mixed = patches if whole else on
            attention = 4 * width * (on * patches if whole else patches * self.window**2 * MERGE**2)
            total += 6 * mixed * width**2 + attention + 2 * on * width**2 + 6 * on * width * self.vision_intermediate
        return total + 2 * tokens * MERGE**2 * width * (MERGE**2 * width + self.language.hidden)


SHAPES: Final = {
    "3B": Shape(QWEN2_5_VL_3B, tied=True),
    "7B": Shape(QWEN2_5_VL_7B),
    "tiny": Shape(DecoderShape(64, 2, 4, 2, 16, 96, 200), 4, 32, 2, 48, (1, 3), tied=True),
}
"""Two with the numbers of their published configurations, and one for a test."""


@dataclass(frozen=True, slots=True)
class Work:
    """Prefills to time.

    tokens: N of each picture. images: requests. step: most visual tokens encoded at once.
    cut_block: behind which tokens are dropped, in runs with a cut. cut_survivors: that go on, for each token kept.
    """

    shape: str
    tokens: int
    images: int
    step: int
    cut_block: int
    cut_survivors: float

    @property
    def side(self) -> int:
        return math.isqrt(self.tokens)

    def kept(self, keep_ratio: float) -> int:
        """K of each picture."""
        return min(self.tokens, max(2, math.ceil(self.tokens * keep_ratio - 1e-9)))

    def survivors(self, keep_ratio: float) -> int:
        """Tokens of each picture that go on behind the cut; N where the cut would drop none."""
        return min(self.tokens, math.ceil(self.kept(keep_ratio) * self.cut_survivors))
