"""Questions read by the first layers of the language model, held against the hidden states of transformers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from engines import operated_with
from reference import Reference
from sppruner_vllm.reading.captions import CAPTIONS, layers_read
from sppruner_vllm.worker.middle_states import MiddleStates
from sppruner_vllm.worker.reading import questions_of

DEPTH = 0.5
TEXTS = ("what is the colour of the cat", "how many", "a", "where is the small sign on the left of the house " * 4)


@pytest.fixture(scope="module")
def questions(reference: Reference) -> list[Tensor]:
    return [torch.tensor(reference.processor.tokenizer.encode(text, add_special_tokens=False)) for text in TEXTS]


@pytest.fixture(scope="module")
def reader(llm: Any, model: Any) -> MiddleStates:
    with operated_with(QUESTION_DEPTH=str(DEPTH)):
        made = questions_of(model, model.family, llm.model_config)()
    assert isinstance(made, MiddleStates)
    return made


@torch.inference_mode()
def expected(reference: Reference, question: Tensor, lead: tuple[int, ...]) -> Tensor:
    """(T, D) hidden states of transformers behind the same layers, the lead cut off."""
    language = reference.model.model.language_model
    ids = torch.cat((torch.tensor(lead), question)).unsqueeze(0)
    states = language(input_ids=ids, use_cache=False, output_hidden_states=True).hidden_states
    return states[layers_read(DEPTH, len(language.layers))][0, len(lead) :]


@pytest.mark.parametrize("together", [False, True])
def test_states_are_those_of_transformers(
    reader: MiddleStates, model: Any, reference: Reference, questions: list[Tensor], together: bool
) -> None:
    with torch.inference_mode():
        found = reader.states(questions, together=together)
    for states, question in zip(found, questions, strict=True):
        wanted = expected(reference, question, model.family.lead)
        assert states.dtype == torch.float32
        assert states.shape == wanted.shape
        assert (states - wanted).norm() < 1e-4 * wanted.norm()
