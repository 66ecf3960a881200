"""What only a newer vLLM has. Run by name, with the environment of deploy/vllm_next_env.py: `make test-vllm`."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import sppruner_server
import vllm
from packaging.version import Version
from sppruner_server.errors.rendering import image_refusal
from vllm import envs
from vllm.multimodal.media.base import MediaDecodedBudget
from vllm.multimodal.media.image import ImageMediaIO
from vllm.platforms import current_platform

import sppruner_vllm
from serving import png

PACKAGE = Path(vllm.__file__).parent
OF_HARNESSES = ("lmms_model", "vlmevalkit_model")
"""Modules that are imported by other programs alone, which have environments of their own."""


def modules_of(package) -> list[str]:
    names = [module.name for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
    return [name for name in names if not name.endswith(("__main__", *OF_HARNESSES))]


def test_this_environment_has_the_newer_python_files_over_the_compiled_parts_of_the_cpu_build():
    assert PACKAGE.is_relative_to(sys.prefix)
    assert Version(vllm.__version__) >= Version("0.33")
    assert version("vllm") == f"{vllm.__version__}+cpu"
    assert current_platform.is_cpu()
    libraries = list(PACKAGE.rglob("*.so"))
    assert libraries
    assert not [library for library in libraries if library.resolve().is_relative_to(sys.prefix)]


@pytest.mark.parametrize("name", [*modules_of(sppruner_vllm), *modules_of(sppruner_server)])
def test_every_module_of_ours_can_be_imported(name):
    importlib.import_module(name)


def test_pictures_beyond_what_a_request_may_decode_are_too_large(monkeypatch):
    monkeypatch.setattr(envs, "VLLM_MAX_MEDIA_REQUEST_DECODE_BYTES", 20 * 20 * 4)
    io = ImageMediaIO(decoded_budget=MediaDecodedBudget())
    io.load_bytes(png(20, 20))
    with pytest.raises(ValueError, match="VLLM_MAX_MEDIA_REQUEST_DECODE_BYTES") as caught:
        io.load_bytes(png(20, 20))
    refused = image_refusal(caught.value)
    assert refused is not None
    assert refused.code == "image_too_large"
