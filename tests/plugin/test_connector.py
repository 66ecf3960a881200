"""What vLLM loads media by once the plugin is registered: ours, in every process that renders prompts."""

from __future__ import annotations

import asyncio
import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image
from vllm.multimodal.media import MEDIA_CONNECTOR_REGISTRY

import sppruner_vllm
from serving import data_url, png
from sppruner_vllm.api.connector import Connector
from sppruner_vllm.api.embedded import grid_of
from sppruner_vllm.api.refusing import RefusedRequest
from sppruner_vllm.errors import InvalidField
from sppruner_vllm.families import qwen2_5_vl
from sppruner_vllm.settings import settings

PICTURE = png(56, 84)


@pytest.fixture(autouse=True)
def settings_of_this_test_alone():
    settings.cache_clear()
    yield
    settings.cache_clear()


def refusal(act, *args) -> InvalidField:
    with pytest.raises(RefusedRequest) as refused:
        act(*args)
    assert isinstance(refused.value, ValueError)
    assert isinstance(refused.value.__cause__, InvalidField)
    return refused.value.__cause__


def test_vllm_gets_our_connector_under_its_own_name():
    sppruner_vllm.register()
    connector = MEDIA_CONNECTOR_REGISTRY.load("http", media_io_kwargs=None, allowed_media_domains=None)
    assert type(connector) is Connector
    picture = asyncio.run(connector.fetch_image_async(data_url(PICTURE)))
    assert picture.media.size == (56, 84)
    assert picture.original_bytes == PICTURE


@pytest.mark.parametrize(
    "image",
    [{"image_mode": "no such"}, {"image_mode": [1]}, {"rgba_background_color": "white"}],
    ids=["unknown mode", "no text", "no colour"],
)
def test_bad_media_io_kwargs_are_named_and_no_image_is_blamed(image):
    refused = refusal(Connector({"image": image}).fetch_image, data_url(PICTURE))
    assert (refused.field, refused.code) == ("media_io_kwargs", "invalid_value")


def test_the_background_is_the_operators():
    clear = io.BytesIO()
    Image.new("RGBA", (28, 28), (0, 0, 0, 0)).save(clear, "PNG")
    connector = Connector({"image": {"rgba_background_color": [10, 20, 30]}})
    loaded = connector.fetch_image(data_url(clear.getvalue()))
    assert set(loaded.media.get_flattened_data()) == {(10, 20, 30)}
    assert loaded.io_config["rgba_background_color"] == (10, 20, 30)


def test_vllms_own_limit_of_pixels_holds_where_it_is_lower(monkeypatch):
    monkeypatch.setenv("VLLM_MAX_IMAGE_PIXELS", "1000")
    refused = refusal(Connector().fetch_image, data_url(PICTURE))
    assert refused.code == "image_too_large"
    assert "this server takes 1000 pixels" in str(refused)


def test_a_picture_beyond_a_limit_is_made_smaller_where_the_operator_wants_that(monkeypatch):
    monkeypatch.setenv("SPPRUNER_MAX_IMAGE_PIXELS", "2000")
    settings.cache_clear()
    assert refusal(Connector().fetch_image, data_url(PICTURE)).code == "image_too_large"
    monkeypatch.setenv("SPPRUNER_SHRINK_LARGE_IMAGES", "1")
    settings.cache_clear()
    loaded = Connector().fetch_image(data_url(PICTURE))
    width, height = loaded.media.size
    assert 1500 < width * height <= 2000
    assert abs(width / height - 56 / 84) < 0.03
    assert loaded.io_config["shrunk_to"] == [width, height]
    assert refusal(Connector().fetch_image, data_url(png(100, 100))).code == "image_too_large"


def test_frames_of_a_video_are_judged_as_pictures_are():
    frame = base64.b64encode(PICTURE).decode()
    loaded = Connector().fetch_video(f"data:video/jpeg;base64,{frame},{frame}")
    assert loaded.media[0].shape == (2, 84, 56, 3)
    refused = refusal(Connector().fetch_video, f"data:video/jpeg;base64,{frame},{frame[:100]}")
    assert (refused.field, refused.code) == ("video_url", "invalid_media")
    refused = refusal(Connector().fetch_audio, data_url(b"no sound", "audio/wav"))
    assert (refused.field, refused.code) == ("audio_url", "invalid_media")


def packed(tensor: object) -> str:
    """A tensor as clients send it."""
    buffer = io.BytesIO()
    torch.save(tensor, buffer)
    return base64.b64encode(buffer.getvalue()).decode()


def numpy_file(shape: tuple[int, ...], values: int) -> str:
    """A file of NumPy's that declares a shape and holds some values."""
    buffer = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, header)
    return base64.b64encode(buffer.getvalue() + bytes(4 * values)).decode()


@pytest.mark.parametrize("sent", [packed(torch.zeros(4, 8)), numpy_file((4, 8), 32)], ids=["torch", "numpy"])
def test_embeddings_that_are_whole_are_taken(sent):
    assert Connector().fetch_image_embedding(sent).shape == (4, 8)
    assert asyncio.run(Connector().fetch_image_embedding_async(sent)).shape == (4, 8)


@pytest.mark.parametrize(
    "sent",
    [
        numpy_file((10**9, 8), 32),
        packed(torch.zeros(1).expand(10**6)),
        packed(torch.eye(100).to_sparse()),
        packed([1]),
        base64.b64encode(b"hello").decode(),
        "",
        "@@@@",
    ],
    ids=["numpy declares more", "one value in many places", "sparse", "a list", "text", "empty", "no base64"],
)
def test_embeddings_that_are_not_are_refused_before_room_is_made_for_them(sent):
    refused = refusal(Connector().fetch_image_embedding, sent)
    assert (refused.field, refused.code) == ("image_embeds", "invalid_image")


@pytest.mark.parametrize(
    ("rows", "grid"),
    [
        (torch.zeros(4, 256), [1, 4, 6]),
        (torch.zeros(6, 128), [1, 4, 6]),
        (torch.zeros(1, 6, 256), [1, 4, 6]),
        (torch.full((6, 256), float("nan")), [1, 4, 6]),
        (torch.zeros(6, 256, dtype=torch.int64), [1, 4, 6]),
        (torch.zeros(6, 256), [1, -4, -6]),
        (torch.zeros(0, 256), [1, 0, 6]),
        (torch.zeros(6, 256), [4, 6]),
    ],
    ids=["rows", "width", "dimensions", "not a number", "integers", "negative", "none", "no grid"],
)
def test_rows_that_are_not_those_of_their_picture_are_refused(tiny_model, rows, grid):
    from transformers import AutoConfig

    family = qwen2_5_vl.Qwen2_5_VL(AutoConfig.from_pretrained(tiny_model))
    good = {"image_embeds": torch.zeros(6, 256), "image_grid_thw": torch.tensor([1, 4, 6])}
    assert grid_of(good, family) == (2, 3)
    with pytest.raises(InvalidField, match="do not fit"):
        grid_of({"image_embeds": rows, "image_grid_thw": torch.tensor(grid)}, family)
