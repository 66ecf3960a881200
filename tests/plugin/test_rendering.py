"""What a rendering raises, and what of it is the fault of whoever sent a picture."""

from functools import partial
from typing import get_args

import aiohttp
import pytest
from PIL import Image
from sppruner_server.errors.rendering import ImageCode, image_refusal, truncation_refusal
from vllm import envs
from vllm.exceptions import VLLMUnprocessableEntityError, VLLMValidationError
from vllm.multimodal.media.image import ImageMediaIO

from bad_images import UNDECODABLE, huge_png
from sppruner_vllm.errors import InvalidField
from sppruner_vllm.metrics.labels import RejectedReason


@pytest.mark.parametrize(
    ("exc", "code"),
    [
        (Image.DecompressionBombError("bomb"), "image_too_large"),
        (aiohttp.ClientError("refused by 10.0.0.1"), "image_fetch_failed"),
        (TimeoutError(), "image_fetch_failed"),
        (RuntimeError("Cannot load local files without `--allowed-local-media-path`."), "image_url_forbidden"),
        (NotImplementedError("Only base64 data URLs are supported for now."), "invalid_image"),
    ],
)
def test_a_bad_image_is_the_clients_fault_and_its_text_says_nothing_of_the_network(exc, code):
    refused = image_refusal(exc)
    assert refused is not None
    assert refused.code == code
    assert "10.0.0.1" not in str(refused)


@pytest.mark.parametrize("content", UNDECODABLE.values(), ids=UNDECODABLE)
def test_whatever_the_decoder_raises_the_image_is_to_blame_and_the_decoder_is_not_quoted(content):
    raised = failure(lambda: ImageMediaIO().load_bytes(content))
    refused = image_refusal(raised)
    assert refused is not None
    assert (refused.code, str(refused)) == ("invalid_image", "the image could not be decoded")


def test_bad_base64_is_an_invalid_image():
    refused = image_refusal(failure(lambda: ImageMediaIO().load_base64("image/png", "@@@@")))
    assert refused is not None
    assert refused.code == "invalid_image"


def test_a_failure_inside_pillow_alone_is_an_invalid_image():
    refused = image_refusal(failure(lambda: Image.new("RGB", (2, 2)).convert("no such mode")))
    assert refused is not None
    assert refused.code == "invalid_image"


def test_more_pixels_than_the_operator_allows_is_the_more_specific_refusal(monkeypatch):
    monkeypatch.setattr(envs, "VLLM_MAX_IMAGE_PIXELS", 100)
    refused = image_refusal(failure(lambda: ImageMediaIO().load_bytes(huge_png(20))))
    assert refused is not None
    assert refused.code == "image_too_large"


def test_more_pixels_in_a_request_than_the_operator_allows_is_told_as_such(monkeypatch):
    """The words are those of vLLM 0.33, multimodal/media/base.py, MediaDecodedBudget."""
    message = "Request decoded media exceeds VLLM_MAX_MEDIA_REQUEST_DECODE_BYTES=100 (1600 bytes)."
    monkeypatch.setattr(Image, "open", partial(raise_, ValueError(message)))
    refused = image_refusal(failure(lambda: ImageMediaIO().load_bytes(huge_png(20))))
    assert refused is not None
    assert refused.code == "image_too_large"


@pytest.mark.parametrize(
    "exc", [VLLMValidationError("no"), VLLMUnprocessableEntityError("no"), InvalidField("keep_ratio", "no")]
)
def test_an_answer_that_is_already_a_4xx_stays_although_pillow_was_at_work(exc, monkeypatch):
    def refuse(*_):
        raise exc

    monkeypatch.setattr(Image, "preinit", refuse)
    assert image_refusal(failure(lambda: ImageMediaIO().load_bytes(UNDECODABLE["truncated"]))) is None


def raise_(exc, *_, **__):
    raise exc


def failure(action):
    """The exception that the action raises, with its traceback."""
    with pytest.raises(Exception) as caught:  # noqa: PT011
        action()
    return caught.value


@pytest.mark.parametrize("exc", [RuntimeError("CUDA error"), NotImplementedError("other"), ValueError("x")])
def test_other_exceptions_are_not_turned_into_the_clients_fault(exc):
    assert image_refusal(exc) is None


def test_every_code_of_a_refused_image_is_a_reason_that_is_counted():
    cut_off = truncation_refusal(RuntimeError("Failed to apply prompt replacement for mm_items"), 5)
    assert {*get_args(ImageCode), cut_off.code} <= set(get_args(RejectedReason))
