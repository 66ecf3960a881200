"""Which way a worker makes vectors of questions, as the operator has it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import Any

from vllm.distributed import get_tensor_model_parallel_rank
from vllm.tokenizers import cached_tokenizer_from_config

from sppruner_vllm.errors import UnsupportedSetup
from sppruner_vllm.family import Family
from sppruner_vllm.reading.captions import CAPTIONS, USUAL_DEPTH, layers_read
from sppruner_vllm.settings import settings

from .middle_states import MiddleStates
from .questions import Questions, TableStates, WordEmbeddings
from .timing import QuestionTimer


def reader_of(model: Any, words: WordEmbeddings, family: Family, config: Any) -> Callable[[], Questions]:
    """What reads the questions that this model is asked, each made once; its words where nothing does.

    Args:
        model: built, its weights not loaded yet. words: its own. config: vLLM's ModelConfig.

    Returns:
        Gives them as the operator has it at the time. Raises UnsupportedSetup where that does not go with the model.
    """

    @cache
    def made(depth: float | None, table: Path | None) -> Questions:
        if table is not None:
            return TableStates(model, table)
        if depth is None:
            try:
                return _middle_states(model, family, config, USUAL_DEPTH)
            except UnsupportedSetup:
                return words
        return _middle_states(model, family, config, depth) if depth else words

    return lambda: made(settings().question_depth, settings().state_table) if family.reduces else words


def _middle_states(model: Any, family: Family, config: Any, depth: float) -> MiddleStates:
    text, tokenizer = family.text_layers(model), cached_tokenizer_from_config(config)
    if text is None or len(text.layers) < 2:
        raise UnsupportedSetup(
            "SPPRUNER_QUESTION_DEPTH: the layers of this language model cannot be run apart from the engine; "
            "SPPRUNER_STATE_TABLE takes a table of them"
        )
    if tokenizer is None:
        raise UnsupportedSetup("SPPRUNER_QUESTION_DEPTH and --skip-tokenizer-init exclude each other")

    def captions() -> list[list[int]]:
        return [tokenizer.encode(caption, add_special_tokens=False) for caption in CAPTIONS]

    first = get_tensor_model_parallel_rank() == 0
    timed = QuestionTimer().of_questions if first else lambda _: nullcontext()
    return MiddleStates(text, layers_read(depth, len(text.layers)), family.lead, captions, timed)
