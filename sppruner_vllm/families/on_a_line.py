"""Language models with positions on a line, whose kept tokens stay at the positions of the unreduced prompt.

Declared M-RoPE, the runner keeps three rows of positions and asks for the kept tokens' own; the language model is
handed the one row that is real, so that it is stock's in every kernel.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar, Final

from torch import Tensor
from vllm.config import VllmConfig

from sppruner_vllm import wire
from sppruner_vllm.errors import UnsupportedSetup
from sppruner_vllm.family import Family, MediaSpan, TextLayers
from sppruner_vllm.planning.smaller import Grid
from sppruner_vllm.reduction import Need
from sppruner_vllm.worker.original_positions import OriginalPositionsMixin
from sppruner_vllm.worker.reducing import ReducingMixin

from .decoder_layers import text_layers

_LENGTHENED: Final = frozenset({"default", "dynamic", "linear", "llama3"})
"""Kinds of rotary table that can be made longer without changing what it holds."""

_TRAINED: Final = "max_trained_positions"
"""Says of a dynamic table that what it holds depends on its length."""


def lengthens(text: Any) -> bool:
    """Whether the rotary table of a language model can be made longer.

    Args:
        text: its configuration.
    """
    rope = text.rope_parameters
    return rope.get("rope_type", "default") in _LENGTHENED and _TRAINED not in rope


class OnALineFamily:
    """What a `Family` says of itself whose language model has positions on a line."""

    cell = None
    cut = None
    videos = None
    still_row = 2
    """The real positions are row 0, which a drafter of other positions takes too."""
    heard: frozenset[Need] = frozenset({"merger_input"})
    fixed_kwargs: Mapping[str, int] = {}

    def most_positions(self, longest: int) -> int:
        # What ratio 1 would take: beyond it the model knows no position.
        return longest

    def extent(self, grid: Grid) -> int:
        return math.prod(grid)

    def tokens_of(self, item: Mapping[str, Any], modality: str) -> int | None:
        order = wire.decode_item(item)
        return None if order is None else order.encoded

    def text_layers(self, model: Any) -> TextLayers | None:
        return text_layers(model.get_language_model())

    def packing_width(self, grid: Grid) -> int:
        return 1

    def spans(self, model: Any, features: Sequence[Any]) -> list[MediaSpan]:
        ordered = sorted(features, key=lambda feature: feature.mm_position.offset)
        return [span for feature in ordered for span in self._parts(feature)]

    def _parts(self, feature: Any) -> Iterator[MediaSpan]:
        """An image, or a video, or the frames of a video with text between them."""
        tokens = self.tokens_of(feature.data, feature.modality)
        for first, length in _runs(feature.mm_position):
            yield MediaSpan(first, length, (tokens or length, 1, 1))


def _runs(place: Any) -> Iterator[tuple[int, int]]:
    """First prompt index and length of each run of tokens that get rows, in a `PlaceholderRange`."""
    if place.is_embed is None:
        yield place.offset, place.length
        return
    rows = place.is_embed.nonzero().flatten().tolist()
    starts = [index for index, row in enumerate(rows) if index == 0 or row != rows[index - 1] + 1]
    for start, end in pairwise([*starts, len(rows)]):
        yield place.offset + rows[start], end - start


class OnALineMixin(ReducingMixin, OriginalPositionsMixin):
    """Put before upstream's model class in the base-class list.

    The class itself sets `supports_multimodal_pruning` and `supports_mrope`: vLLM caches such flags by the file they
    stand in. Its architecture stands in `PREPARED`, and it has `prepare_config`, which calls `keep_three_rows`.
    """

    family_of: ClassVar[type[Family]]

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        config = vllm_config.model_config.hf_config
        if not self.family_of(config).reduces:
            super().__init__(vllm_config=vllm_config, prefix=prefix)
            return
        speculation = vllm_config.speculative_config
        if speculation is not None and (speculation.use_eagle() or speculation.uses_draft_model()):
            raise UnsupportedSetup(
                "visual-token reduction and a draft model exclude each other on this model: a drafter's positions end "
                "too early"
            )
        # A prompt may begin where the context ends before its pictures were reduced: the answer needs a table as long.
        text = config.get_text_config()
        context = text.max_position_embeddings
        longest = context
        if text.rope_parameters.get("rope_type") == "dynamic":
            # vLLM 0.32 and 0.33 take longer prompts than they make this table (config/model.py, "scaling_factor").
            longest = max(context, vllm_config.model_config.max_model_len)
        text.max_position_embeddings = 2 * longest
        try:
            super().__init__(vllm_config=vllm_config, prefix=prefix)
        finally:
            text.max_position_embeddings = context

    def forward(
        self,
        input_ids: Tensor | None,
        positions: Tensor,
        intermediate_tensors: Any = None,
        inputs_embeds: Tensor | None = None,
        **kwargs: object,
    ) -> Any:
        line = positions[0] if positions.ndim == 2 else positions
        return super().forward(  # type: ignore[misc]
            input_ids, line, intermediate_tensors, inputs_embeds, **kwargs
        )


def keep_three_rows(config: Any, family: Family) -> None:
    """Let runners keep three rows of positions, whose first is the real one.

    Said on the whole model's configuration: the language model's own stays stock's. Nobody reads the numbers.
    """
    if family.reduces:
        config.mrope_section = [0, 0, 0]
