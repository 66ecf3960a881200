"""The bare backend on a LLaVA: greedy answers as transformers writes them, and positions counted anew where wanted."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoProcessor, LlavaForConditionalGeneration

from sppruner_vllm.demo.places import LLAVA_MODEL
from sppruner_vllm.evaluation.asking import AskingFailed, Manner
from sppruner_vllm.evaluation.conditions import FULL, Condition
from sppruner_vllm.evaluation.demo_dataset import demo_questions
from sppruner_vllm.evaluation.engineless import EnginelessAsker, Variant
from sppruner_vllm.evaluation.engineless_model import Prompt
from sppruner_vllm.evaluation.questions import Question

TOKENS = 4


@pytest.fixture(scope="module")
def asker() -> EnginelessAsker:
    return EnginelessAsker(str(LLAVA_MODEL), Manner(max_tokens=TOKENS))


@pytest.fixture(scope="module")
def model() -> Any:
    return LlavaForConditionalGeneration.from_pretrained(LLAVA_MODEL, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def questions() -> list[Question]:
    """Of one scene, the last about two pictures."""
    found = list(demo_questions(7, 77))
    return [*found[:2], next(question for question in found if len(question.images) == 2)]


@torch.inference_mode()
def test_whole_pictures_are_answered_as_by_transformers(
    asker: EnginelessAsker, model: Any, questions: list[Question]
) -> None:
    processor = AutoProcessor.from_pretrained(LLAVA_MODEL)
    theirs = []
    for question in questions:
        images = [Image.open(io.BytesIO(shown.read())) for shown in question.images]
        content = [*({"type": "image"} for _ in images), {"type": "text", "text": question.text}]
        prompt = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        inputs = processor(text=[prompt], images=images, return_tensors="pt")
        written = model.generate(**inputs, max_new_tokens=TOKENS, do_sample=False)[0, inputs["input_ids"].shape[1] :]
        theirs.append(processor.tokenizer.decode(written, skip_special_tokens=True).strip())
    assert [answer.text for answer in asker.ask(questions, FULL)] == theirs


def prompts(asker: EnginelessAsker, questions: list[Question], variant: Variant) -> list[Prompt]:
    return asker._prompts(questions, Condition("uniform", 0.222), variant, [])


@torch.inference_mode()
def test_counted_anew_positions_are_those_of_a_shorter_prompt(
    asker: EnginelessAsker, model: Any, questions: list[Question]
) -> None:
    kept = prompts(asker, questions, Variant())
    anew = prompts(asker, questions, Variant(renumbered=True))
    answers = asker.ask(questions, Condition("uniform:renumbered", 0.222))
    for before, after, answer in zip(kept, anew, answers, strict=True):
        assert torch.equal(before.embedded, after.embedded)
        gone = 256 * len(before.pictures) - before.visual
        assert int(before.positions[0, -1] - after.positions[0, -1]) == gone
        # Without positions transformers counts what it is given.
        states = model.model.language_model(inputs_embeds=after.embedded.unsqueeze(0)).last_hidden_state
        first = asker._plain.answer([after], 1)
        assert asker._plain._processor.tokenizer.decode(model.lm_head(states[0, -1]).argmax()).strip() == first[0]
        assert answer.text.startswith(first[0])


def test_a_model_with_rows_and_columns_is_not_counted_anew(tiny_model: Any, questions: list[Question]) -> None:
    asker = EnginelessAsker(str(tiny_model), Manner(max_tokens=TOKENS))
    with pytest.raises(AskingFailed, match="rows and columns"):
        asker.usable(questions[0], [Condition("uniform:renumbered", 0.222)])
