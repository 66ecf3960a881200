"""The bundled demo model under vLLM: it answers as transformers does, and as the bare backend behind the docs says."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from PIL import Image, ImageChops
from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration

from engines import start_engine
from sppruner_vllm.demo.world.exam import SIZE, exam
from sppruner_vllm.demo.world.layout import draw_layout
from sppruner_vllm.demo.world.scene import render
from sppruner_vllm.demo_model import CHECKPOINT
from sppruner_vllm.demo_model.picture import PICTURE, QUESTIONS, SEED
from sppruner_vllm.evaluation.asking import Manner
from sppruner_vllm.evaluation.conditions import FULL, Condition
from sppruner_vllm.evaluation.demo_dataset import demo_questions
from sppruner_vllm.evaluation.engineless import EnginelessAsker

HELD_OUT_SEED = 1234
SCENES = 29
"""Enough for 200 questions."""

TOKENS = 5


@pytest.fixture(scope="module")
def demo_llm() -> Any:
    return start_engine(CHECKPOINT)


@pytest.fixture(scope="module")
def questions():
    return list(exam(HELD_OUT_SEED, SCENES))[:200]


def chat(pictures: list[Image.Image], text: str) -> list[dict[str, Any]]:
    parts = [*({"type": "image_pil", "image_pil": picture} for picture in pictures), {"type": "text", "text": text}]
    return [{"role": "user", "content": parts}]


def ask_engine(llm: Any, questions, **fields: Any) -> list[str]:
    from vllm import SamplingParams

    chats = [chat(question.pictures(), question.asked.text) for question in questions]
    sampling = SamplingParams(max_tokens=TOKENS, temperature=0)
    outputs = llm.chat(chats, sampling, use_tqdm=False, mm_processor_kwargs=fields or None)
    return [output.outputs[0].text for output in outputs]


@pytest.fixture(scope="module")
def answers(demo_llm, questions) -> list[str]:
    return ask_engine(demo_llm, questions)


@torch.inference_mode()
def test_200_answers_equal_those_of_transformers(questions, answers):
    processor = AutoProcessor.from_pretrained(CHECKPOINT)
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(CHECKPOINT, dtype=torch.float32).eval()
    theirs = []
    for question in questions:
        pictures = question.pictures()
        content = [*({"type": "image"} for _ in pictures), {"type": "text", "text": question.asked.text}]
        prompt = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        inputs = processor(text=[prompt], images=pictures, return_tensors="pt")
        written = model.generate(**inputs, max_new_tokens=TOKENS, do_sample=False)[0, inputs["input_ids"].shape[1] :]
        theirs.append(processor.tokenizer.decode(written, skip_special_tokens=True))
    assert len(questions) == 200
    assert answers == theirs


def test_the_model_knows_its_world(questions, answers):
    right = [question.asked.answer == answer for question, answer in zip(questions, answers, strict=True)]
    assert sum(right) >= 0.95 * len(questions)


@pytest.fixture(scope="module")
def bare() -> EnginelessAsker:
    return EnginelessAsker(str(CHECKPOINT), Manner(max_tokens=TOKENS))


@pytest.mark.parametrize("method", ["focus_context", "downscale", "hybrid", "coverage"])
def test_the_bare_backend_answers_as_serving_does(demo_llm, bare, questions, method):
    some = questions[:60]
    theirs = bare.ask(list(demo_questions(60, HELD_OUT_SEED)), Condition(method, 0.222))
    served = ask_engine(demo_llm, some, keep_ratio=0.222, reduction_method=method)
    assert served == [answer.text for answer in theirs]


def test_the_bare_backend_answers_as_serving_does_about_whole_pictures(bare, answers):
    theirs = bare.ask(list(demo_questions(60, HELD_OUT_SEED)), FULL)
    assert answers[:60] == [answer.text for answer in theirs]


def test_the_demo_picture_is_the_scene_of_its_seed_and_its_answers_follow(demo_llm):
    from vllm import SamplingParams

    picture = Image.open(PICTURE).convert("RGB")
    drawn = render(draw_layout(SEED, SIZE), held_out=True)
    assert ImageChops.difference(drawn, picture).getbbox() is None
    chats = [chat([picture], text) for text, _ in QUESTIONS]
    outputs = demo_llm.chat(chats, SamplingParams(max_tokens=TOKENS, temperature=0), use_tqdm=False)
    assert [output.outputs[0].text for output in outputs] == [answer for _, answer in QUESTIONS]
