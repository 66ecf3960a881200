"""The models that are benchmarked: random weights in the proportions of real ones, and the demo model.

Proportions are those of time. In Qwen2.5-VL-3B the vision encoder does 48 % of the operations of a prefill of one
picture of 1,296 visual tokens, in 7B 29 % (encoder_flops.py). On a CPU a narrow encoder computes at half the rate of
the language model beside it, so that equal operations would make it two thirds of the time: the language models here
are so deep that its share of stock vLLM's time is what its share of the operations is in the real model. All 32 vision
blocks are there, four of which see the whole picture, at the places where the real ones are.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sppruner_vllm.demo.tiny_spec import TinyModelSpec
from sppruner_vllm.demo_model import CHECKPOINT
from sppruner_vllm.evaluation.encoder_flops import (
    QWEN2_5_VL_3B,
    QWEN2_5_VL_7B,
    QWEN2_5_VL_ENCODER,
    EncoderShape,
    encoder_share,
)
from sppruner_vllm.evaluation.prefill_flops import DecoderShape


@dataclass(frozen=True, slots=True)
class BenchModel:
    """One model. title: for people. spec: None for the checkpoint that is bundled.

    side: pixels along a side of the picture of most measures. real: the model whose proportions it has.
    blocks: of the KV cache.
    """

    name: str
    title: str
    spec: TinyModelSpec | None
    side: int = 1008
    real: DecoderShape | None = None
    blocks: int = 512

    def folder(self, cache: Path) -> Path:
        """Its checkpoint, built if it is not there."""
        if self.spec is None:
            return CHECKPOINT
        from sppruner_vllm.demo.tiny_model import build_tiny_model

        return build_tiny_model(cache / self.name, self.spec)

    @property
    def tokens(self) -> int:
        """Visual tokens of its picture."""
        return (self.side // 28) ** 2


def _spec(hidden: int, layers: int, heads: int, kv_heads: int, intermediate: int) -> TinyModelSpec:
    return TinyModelSpec(
        hidden=hidden,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        intermediate=intermediate,
        vision_hidden=256,
        vision_depth=32,
        vision_heads=4,
        vision_intermediate=688,
        whole_image_blocks=(7, 15, 23, 31),
        dtype="bfloat16",
    )


LIKE_3B: Final = BenchModel("like-3b", "3B proportions", _spec(768, 33, 6, 1, 4128), real=QWEN2_5_VL_3B)
LIKE_7B: Final = BenchModel("like-7b", "7B proportions", _spec(1280, 26, 10, 2, 6784), real=QWEN2_5_VL_7B)
DEMO: Final = BenchModel("demo", "demo model", None)
TINY: Final = BenchModel("tiny", "tiny model", TinyModelSpec(), side=336, blocks=129)
"""4 M parameters: for tests, for counts in a KV cache of 128 blocks (vLLM keeps one for itself), and for what a fixed
cost per step weighs at most."""

MODELS: Final = (LIKE_3B, LIKE_7B, DEMO, TINY)


def shares(model: BenchModel, text: int) -> tuple[float, float] | None:
    """The encoder's share of the operations of a prefill, in the real model and in this one; None for other models."""
    if model.spec is None or model.real is None:
        return None
    spec = model.spec
    encoder = EncoderShape(
        spec.vision_hidden, spec.vision_depth, spec.vision_intermediate, len(spec.whole_image_blocks)
    )
    width = spec.hidden // spec.heads
    decoder = DecoderShape(spec.hidden, spec.layers, spec.heads, spec.kv_heads, width, spec.intermediate, 1)
    real = encoder_share(QWEN2_5_VL_ENCODER, model.real, model.tokens, text)
    return real, encoder_share(encoder, decoder, model.tokens, text)
