"""The table of beds: a row a family, and all that a test needs to treat it like the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sppruner_vllm.demo.tiny_model import build_tiny_model

from .glm4_1v import build_glm4_1v
from .internvl import TOKENS as INTERN_TOKENS
from .internvl import build_internvl
from .internvl_chat import build_internvl_chat
from .llava import TOKENS as CLIP_TOKENS
from .llava import build_llava
from .llava_next import TOKENS as NEXT_TOKENS
from .llava_next import build_llava_next
from .llava_onevision import TOKENS as ONEVISION_TOKENS
from .llava_onevision import build_llava_onevision
from .qwen2_vl import build_qwen2_vl
from .qwen3_vl import CELL as QWEN3_CELL
from .qwen3_vl import build_qwen3_vl, build_qwen3_vl_moe

Size = tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Bed:
    """One family's tiny model.

    name: of the family's file.
    build: writes the checkpoint, float32 and seeded, and returns its folder.
    placeholder: the text that stands for a picture's token in a prompt.
    tokens: visual tokens of a picture of some width and height, before reduction.
    limits: most items of each kind in a prompt.
    block: of its encoder, behind which the tests cut; None where it cannot be.
    videos: whether they are reduced, where it takes any.
    attention: whether its encoder's attention is overheard. reads: whether questions are read by its language model.
    square: keep ratios to test, from the largest down, and the tokens that a square of 336 pixels keeps at each.
    module: of vLLM's own class, where it has another name than the family's file.
    """

    name: str
    build: Callable[[Path], Path]
    placeholder: str
    tokens: Callable[[Size], int]
    limits: Mapping[str, int]
    square: Mapping[float, int]
    module: str | None = None
    block: int | None = None
    videos: bool = False
    attention: bool = True
    reads: bool = True

    @property
    def ratios(self) -> tuple[float, ...]:
        return tuple(self.square)

    @property
    def upstream(self) -> str:
        """Module of vLLM's own class."""
        return f"vllm.model_executor.models.{self.module or self.name}"

    @property
    def ours(self) -> str:
        """Module of our class."""
        return f"sppruner_vllm.families.{self.name}"


def _qwen_tokens(size: Size) -> int:
    """Of a picture whose sides are whole tokens of 28 pixels and within the model's limits."""
    return size[0] * size[1] // 28**2


def _qwen3_tokens(size: Size) -> int:
    """Of a picture within the model's limits, each of whose sides is rounded to whole tokens."""
    return round(size[0] / QWEN3_CELL) * round(size[1] / QWEN3_CELL)


_QWEN_LIMITS: Final = {"image": 4, "video": 2}
_QWEN_SQUARE: Final = {0.5: 72, 0.222: 32, 0.06: 9}  # of 144
_QWEN3_SQUARE: Final = {0.5: 50, 0.222: 23, 0.06: 6}  # of 100
_CLIP_SQUARE: Final = {0.5: 288, 0.3333: 192, 0.1111: 64}  # of 576; the last two are those of the pruning papers
_NEXT_SQUARE: Final = {0.5: 150, 0.222: 67, 0.06: 18}  # of 300
_INTERN_SQUARE: Final = {0.5: 90, 0.222: 40, 0.06: 11}  # of 180
_ONEVISION_SQUARE: Final = {0.5: 189, 0.222: 84, 0.06: 23}  # of 378

BEDS: Final = {
    bed.name: bed
    for bed in (
        Bed(
            "qwen2_5_vl",
            build_tiny_model,
            "<|image_pad|>",
            _qwen_tokens,
            _QWEN_LIMITS,
            _QWEN_SQUARE,
            block=1,
            videos=True,
        ),
        Bed("qwen2_vl", build_qwen2_vl, "<|image_pad|>", _qwen_tokens, _QWEN_LIMITS, _QWEN_SQUARE, videos=True),
        Bed("llava", build_llava, "<image>", lambda _: CLIP_TOKENS, {"image": 4}, _CLIP_SQUARE, attention=False),
        Bed(
            "llava_next",
            build_llava_next,
            "<image>",
            NEXT_TOKENS.__getitem__,
            {"image": 4},
            _NEXT_SQUARE,
            attention=False,
        ),
        Bed(
            "llava_onevision",
            build_llava_onevision,
            "<|image_pad|>",
            ONEVISION_TOKENS.__getitem__,
            _QWEN_LIMITS,
            _ONEVISION_SQUARE,
            attention=False,
        ),
        Bed(
            "internvl",
            build_internvl,
            "<IMG_CONTEXT>",
            INTERN_TOKENS.__getitem__,
            _QWEN_LIMITS,
            _INTERN_SQUARE,
            module="interns1",
            attention=False,
        ),
        Bed(
            "internvl_chat",
            build_internvl_chat,
            "<IMG_CONTEXT>",
            INTERN_TOKENS.__getitem__,
            _QWEN_LIMITS,
            _INTERN_SQUARE,
            module="internvl",
            attention=False,
        ),
        Bed(
            "glm4_1v",
            build_glm4_1v,
            "<|image|>",
            _qwen_tokens,
            {"image": 4, "video": 1},
            _QWEN_SQUARE,
            reads=False,
        ),
        Bed("qwen3_vl", build_qwen3_vl, "<|image_pad|>", _qwen3_tokens, _QWEN_LIMITS, _QWEN3_SQUARE, videos=True),
        Bed(
            "qwen3_vl_moe",
            build_qwen3_vl_moe,
            "<|image_pad|>",
            _qwen3_tokens,
            _QWEN_LIMITS,
            _QWEN3_SQUARE,
            videos=True,
            reads=False,
        ),
    )
}

UNTRAINED: Final = tuple(bed for bed in BEDS.values() if bed.name != "qwen2_5_vl")
"""The beds whose architecture the demo model does not have: both runners are asked of them, and of it."""
