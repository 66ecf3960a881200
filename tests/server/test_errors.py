"""Exceptions that are the client's fault."""

import json

import aiohttp
import pytest
from PIL import Image
from sppruner_server.errors import image_refusal, refusal

from sppruner_vllm.errors import InvalidField


def test_a_refusal_is_an_openai_error_object():
    response = refusal(InvalidField("keep_ratio", "must be in (0, 1]"))
    assert response.status_code == 400
    assert json.loads(response.body) == {
        "error": {
            "message": "must be in (0, 1]",
            "type": "invalid_request_error",
            "param": "keep_ratio",
            "code": "invalid_keep_ratio",
        }
    }


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


@pytest.mark.parametrize("exc", [RuntimeError("CUDA error"), NotImplementedError("other"), ValueError("x")])
def test_other_exceptions_are_not_turned_into_the_clients_fault(exc):
    assert image_refusal(exc) is None
