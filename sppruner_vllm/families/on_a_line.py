"""Language models with positions on a line, whose kept tokens stay at the positions of the unreduced prompt.

Declared M-RoPE, the runner keeps three rows of positions and asks for the kept tokens' own; the language model is
handed the one row that is real, so that it is stock's in every kernel.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

from torch import Tensor
from vllm.config import VllmConfig

from sppruner_vllm.errors import UnsupportedSetup
from sppruner_vllm.family import Family
from sppruner_vllm.worker.original_positions import OriginalPositionsMixin
from sppruner_vllm.worker.reducing import ReducingMixin

STILL_ROW: Final = 2
"""The real positions are row 0, which a drafter of other positions takes too."""

_LENGTHENED: Final = frozenset({"default", "linear", "llama3"})
"""Kinds of rotary table that can be made longer without changing what it holds."""


def lengthens(text: Any) -> bool:
    """Whether the rotary table of a language model can be made longer.

    Args:
        text: its configuration.
    """
    return text.rope_parameters.get("rope_type", "default") in _LENGTHENED


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
        text.max_position_embeddings = 2 * context
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
