"""Pictures given to an `LLM` as objects: judged, brought to eight bits, or refused by a ValueError that says why."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from engines import operated_with
from sppruner_vllm.api.given_pictures import judged

SIDE = 56


def chat(llm, *parts, **kwargs):
    content = [*parts, {"type": "text", "text": "what is this"}]
    options = {"mm_processor_kwargs": kwargs} if kwargs else {}
    return llm.chat([{"role": "user", "content": content}], use_tqdm=False, **options)[0]


def pil(given):
    return {"type": "image_pil", "image_pil": given}


def noisy(size=(SIDE, SIDE)):
    small = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size)


@pytest.mark.parametrize("kwargs", [{}, {"keep_ratio": 0.5}], ids=["without", "with"])
@pytest.mark.parametrize("given", ["picture.png", b"\x89PNG", Path("picture.png"), 5, {"a": 1}], ids=repr)
def test_what_is_no_picture_is_a_value_error_that_says_so(llm, given, kwargs):
    with pytest.raises(ValueError, match="PIL image"):
        chat(llm, pil(given), **kwargs)
    with pytest.raises(ValueError, match=r"PIL image|tensor"):
        llm.generate({"prompt": "<image>", "multi_modal_data": {"image": given}}, use_tqdm=False)


@pytest.mark.parametrize("kwargs", [{}, {"keep_ratio": 0.5}], ids=["without", "with"])
def test_a_picture_beyond_the_limits_is_refused_before_it_is_read(llm, kwargs):
    file = io.BytesIO()
    Image.new("1", (6000, 6000)).save(file, "PNG")
    picture = Image.open(file)
    with pytest.raises(ValueError, match="6000 x 6000 pixels"):
        chat(llm, pil(picture), **kwargs)
    assert picture.tile, "its pixels were read"


def test_a_damaged_file_that_pillow_has_opened_is_refused(llm):
    file = io.BytesIO()
    noisy().save(file, "PNG")
    content = bytearray(file.getvalue())
    content[-40] ^= 1
    with pytest.raises(ValueError, match="checksum"):
        chat(llm, pil(Image.open(io.BytesIO(content))))


def test_deep_levels_are_scaled_and_not_clipped():
    levels = np.arange(SIDE * SIDE, dtype=np.uint16).reshape(SIDE, SIDE) * 20
    (seen,) = judged(Image.fromarray(levels))
    assert (np.asarray(seen)[..., 0] == np.rint(levels / 257)).all()


def test_an_array_of_floats_is_taken_from_0_to_1_alone():
    floats = np.random.default_rng(0).random((SIDE, SIDE, 3), dtype=np.float32)
    (seen,) = judged(floats)
    assert seen.dtype == np.uint8
    assert (seen == np.floor(floats * 255 + 0.5)).all()
    (seen,) = judged([torch.from_numpy(floats)])
    assert seen.dtype == torch.uint8
    for wrong in (floats * 255, floats - 0.5, floats * np.nan):
        with pytest.raises(ValueError, match="from 0 to 1"):
            judged(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((SIDE, SIDE)),
        np.zeros((SIDE, SIDE, 3), np.int64),
        np.zeros((0, 5, 3), np.uint8),
        np.zeros((2, 5, 7), np.uint8),
    ],
    ids=["two dimensions", "integers", "empty", "no channels"],
)
def test_an_array_that_is_no_picture_is_refused(wrong):
    with pytest.raises(ValueError, match=r"image given as an array|0 pixels|x 0"):
        judged(wrong)


def test_an_oversized_picture_is_shrunk_where_the_operator_wants_that(llm):
    picture = noisy(size=(2240, 2240))
    with pytest.raises(ValueError, match="context holds 4095"):
        chat(llm, pil(picture))
    with operated_with(SHRINK_LARGE_IMAGES="1"):
        answer = chat(llm, pil(picture))
        assert len(answer.prompt_token_ids) <= 4095
        assert len(answer.prompt_token_ids) > 3500
        both = chat(llm, pil(picture), pil(noisy()))
        assert len(both.prompt_token_ids) <= 2200


@pytest.mark.parametrize("name", ["keepratio", "Keep_Ratio", "ratio_bounds"])
def test_a_field_that_would_be_lost_is_a_value_error_that_names_it(llm, name):
    with pytest.raises(ValueError, match=f"{name} is no"):
        chat(llm, pil(noisy()), **{name: 0.5})


def test_numbers_of_other_libraries_are_numbers(llm):
    usual = chat(llm, pil(noisy()), keep_ratio=0.5)
    assert chat(llm, pil(noisy()), keep_ratio=np.float32(0.5)).prompt_token_ids == usual.prompt_token_ids


@pytest.mark.parametrize("given", ["clip.mp4", b"RIFF"], ids=repr)
@pytest.mark.parametrize("several", [False, True])
def test_what_a_video_would_be_read_from_is_a_value_error_that_says_so(llm, given, several):
    video = [given] if several else given
    with pytest.raises(ValueError, match="a video must be given as frames"):
        llm.generate({"prompt": "<video>", "multi_modal_data": {"video": video}}, use_tqdm=False)


@pytest.mark.parametrize("known", [False, True])
def test_a_video_without_a_frame_is_a_value_error_that_says_so(llm, known):
    frames = np.zeros((0, 112, 140, 3), np.uint8)
    video = [(frames, {"fps": 2.0, "total_num_frames": 0, "frames_indices": []})] if known else frames
    with pytest.raises(ValueError, match="a video must have at least one frame"):
        llm.generate({"prompt": "<video>", "multi_modal_data": {"video": video}}, use_tqdm=False)
