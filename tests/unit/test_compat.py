"""Which vLLM we accept, and whether each shim is still needed."""

from __future__ import annotations

import inspect

import pytest

import sppruner_vllm
from sppruner_vllm import compat
from sppruner_vllm.errors import UnsupportedSetup


@pytest.mark.parametrize("version", ["0.32.0", "0.32.0+cpu", "0.32.1", "0.33.0", "0.33.2rc1", "0.33.1.dev3+gabc"])
def test_known_versions_of_vllm_are_accepted(version: str) -> None:
    compat.check_version(version)


@pytest.mark.parametrize("version", ["0.31.9", "0.34.0", "0.34.0rc1", "1.0"])
def test_other_versions_are_refused_clearly(version: str) -> None:
    with pytest.raises(UnsupportedSetup, match=r"supports vllm>=0\.32,<0\.34"):
        compat.check_version(version)


def test_registering_twice_is_harmless() -> None:
    from vllm import ModelRegistry

    sppruner_vllm.register()
    sppruner_vllm.register()
    assert set(compat.ARCHITECTURES) <= set(ModelRegistry.get_supported_archs())


def test_the_cpu_runner_still_needs_its_gate_opened() -> None:
    from vllm.v1.worker.cpu_model_runner import CPUModelRunner

    assert "is_multimodal_pruning_enabled" not in inspect.getsource(CPUModelRunner.load_model)


def test_the_parts_of_the_renderer_that_the_cache_shim_replaces_exist() -> None:
    from vllm.multimodal.cache.lru import LruKeyReplicatedSenderCache
    from vllm.renderers.base import BaseRenderer

    source = inspect.getsource(BaseRenderer)
    for attribute in ("_mm_executor", "_process_multimodal_async"):
        assert f"self.{attribute} = " in source
    assert isinstance(BaseRenderer.mm_processor_cache, property)
    assert callable(LruKeyReplicatedSenderCache.get_and_update_item)
    assert "invalidate" not in source, "upstream may forget refused images by itself now"


def test_the_hooks_we_override_exist_upstream() -> None:
    from vllm.model_executor.models.qwen2_5_vl import Qwen2_5_VLForConditionalGeneration as Model
    from vllm.multimodal.processing import BaseMultiModalProcessor as Processor

    from sppruner_vllm.models.mrope import ReducedMRopeMixin
    from sppruner_vllm.processor import ReductionProcessorMixin

    model_hooks = {name for name, value in vars(ReducedMRopeMixin).items() if callable(value) and name[0] != "_"}
    assert model_hooks - {"get_model_state_cls"} <= set(dir(Model))
    hooks = ("apply", "get_dummy_inputs", "_get_mm_hashes", "_get_cache_missing_processor_kwargs")
    hooks += ("_apply_hf_processor_main", "_get_mm_fields_config", "_get_prompt_updates")
    for hook in hooks:
        assert hook in vars(ReductionProcessorMixin)
        assert hasattr(Processor, hook)
