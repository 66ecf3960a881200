"""The demo model: the same bytes every time, and the shape of the real thing."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from transformers import AutoProcessor, AutoTokenizer

from sppruner_vllm.demo.tiny_model import build_tiny_model
from sppruner_vllm.demo.tiny_spec import TinyModelSpec
from sppruner_vllm.demo.words import LINE_STARTS, WORDS


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return build_tiny_model(tmp_path_factory.mktemp("demo") / "model")


def contents(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


def test_two_builds_of_one_spec_are_the_same_bytes(model, tmp_path):
    assert contents(build_tiny_model(tmp_path / "again")) == contents(model)


def test_another_seed_gives_other_weights(model, tmp_path):
    other = contents(build_tiny_model(tmp_path / "other", TinyModelSpec(seed=1)))
    assert other["model.safetensors"] != contents(model)["model.safetensors"]


def test_a_finished_model_is_left_alone(model):
    before = {file.name: file.stat().st_mtime_ns for file in model.iterdir()}
    build_tiny_model(model)
    assert {file.name: file.stat().st_mtime_ns for file in model.iterdir()} == before


def test_a_model_of_another_spec_is_replaced(tmp_path):
    build_tiny_model(tmp_path / "model", TinyModelSpec(layers=1))
    build_tiny_model(tmp_path / "model", TinyModelSpec(layers=2))
    assert json.loads((tmp_path / "model" / "config.json").read_text())["text_config"]["num_hidden_layers"] == 2


def test_a_build_leaves_nothing_beside_the_model(model):
    assert [entry.name for entry in model.parent.iterdir()] == ["model"]


def test_rotary_sections_fill_half_a_head():
    spec = TinyModelSpec()
    assert sum(spec.mrope_section) == spec.hidden // spec.heads // 2


def test_every_listed_word_is_one_token(model):
    tokenizer = AutoTokenizer.from_pretrained(model)
    texts = [*LINE_STARTS, *(f" {word}" for word in WORDS)]
    assert [text for text in texts if len(tokenizer(text).input_ids) != 1] == []


def test_any_text_survives_the_tokenizer(model):
    tokenizer = AutoTokenizer.from_pretrained(model)
    text = "Zażółć\n\n  你好 😀 1234 <b>\t'quoted'"
    assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_the_chat_template_gives_qwens_prompt(model):
    chat = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is it?"}]},
        {"role": "assistant", "content": "A cup."},
        {"role": "user", "content": [{"type": "video"}, {"type": "text", "text": "And this?"}]},
    ]
    prompt = AutoTokenizer.from_pretrained(model).apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    assert prompt == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>What is it?<|im_end|>\n"
        "<|im_start|>assistant\nA cup.<|im_end|>\n"
        "<|im_start|>user\n<|vision_start|><|video_pad|><|vision_end|>And this?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_a_system_turn_replaces_the_default_one(model):
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    prompt = AutoTokenizer.from_pretrained(model).apply_chat_template(chat, tokenize=False)
    assert prompt == "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"


def test_a_1008_pixel_square_has_1296_visual_tokens(model):
    counts = AutoProcessor.from_pretrained(model)._get_num_multimodal_tokens(image_sizes=[(1008, 1008)])
    assert counts["num_image_tokens"] == [1296]
