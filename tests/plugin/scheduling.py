"""vLLM's real scheduler without an engine: requests with pictures go in, and it is told that every step was run."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers.feature_extraction_utils import BatchFeature
from vllm import SamplingParams
from vllm.config import VllmConfig
from vllm.engine.arg_utils import EngineArgs
from vllm.multimodal.inputs import (
    MultiModalFeatureSpec,
    MultiModalFieldConfig,
    MultiModalKwargsItems,
    PlaceholderRange,
)
from vllm.utils.hashing import sha256
from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash
from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
from vllm.v1.outputs import ModelRunnerOutput
from vllm.v1.request import Request
from vllm.v1.structured_output import StructuredOutputManager

from sppruner_vllm import wire

BLOCK = 16


@dataclass(frozen=True)
class Picture:
    """encoded, kept: visual tokens before and after reduction. name: what its cached rows go by."""

    encoded: int
    kept: int
    name: str = field(default_factory=map(str, itertools.count()).__next__)


@dataclass(frozen=True)
class Step:
    """pictures: encoded in it. tokens: of its prompts. finished: requests that have all their tokens after it."""

    pictures: list[Picture]
    tokens: int
    finished: list[str]

    @property
    def encoded(self) -> int:
        return sum(picture.encoded for picture in self.pictures)


def configured(model: Path, **options: Any) -> VllmConfig:
    """An engine's configuration, as `vllm serve` or `LLM` would make it."""
    usual: dict[str, Any] = {"max_model_len": 4096, "block_size": BLOCK, "dtype": "float32", "max_num_seqs": 64}
    return EngineArgs(model=str(model), **(usual | options)).create_engine_config()


class Steps:
    """One scheduler and the requests it was given."""

    def __init__(
        self, config: VllmConfig, blocks: int = 4096, compute: int | None = None, scheduler: Any = None
    ) -> None:
        """Args:
        blocks: of the KV cache. compute: encoder tokens of a step. scheduler: its class. None leaves the last two to
            the configuration.
        """
        spec = FullAttentionSpec(block_size=BLOCK, num_kv_heads=1, head_size=8, dtype=torch.float32)
        config.cache_config.num_gpu_blocks = blocks
        kv = KVCacheConfig(blocks, [], [KVCacheGroupSpec(["layer"], spec)])
        scheduler = scheduler or config.scheduler_config.get_scheduler_cls()
        manager = StructuredOutputManager(config)
        self.scheduler: Any = scheduler(config, kv, manager, BLOCK, hash_block_size=BLOCK)
        if compute is not None:
            self.scheduler.max_num_encoder_input_tokens = compute
        init_none_hash(sha256)
        self._hasher = get_request_block_hasher(BLOCK, sha256)
        self._pictures: dict[str, Sequence[Picture]] = {}

    def ask(self, *pictures: Picture, before: int = 4, after: int = 20, tokens: int = 1, priority: int = 0) -> str:
        """Put a request: pictures with text before each, and after the last; its id."""
        ids: list[int] = []
        features = []
        for picture in pictures:
            ids += [len(self._pictures) + 10] * before
            place = PlaceholderRange(offset=len(ids), length=picture.kept)
            features.append(MultiModalFeatureSpec(_item(picture), "image", picture.name, place, mm_hash=picture.name))
            ids += [5] * picture.kept
        name = str(len(self._pictures))
        self._pictures[name] = pictures
        sampling = SamplingParams(max_tokens=tokens, ignore_eos=True)
        request = Request(
            name,
            [*ids, *[6] * after],
            sampling,
            None,
            mm_features=features,
            priority=priority,
            block_hasher=self._hasher,
        )
        self.scheduler.add_request(request)
        return name

    def run(self) -> list[Step]:
        """All steps until nothing is left to do."""
        return list(self._steps())

    def _steps(self) -> Iterator[Step]:
        while self.scheduler.has_unfinished_requests():
            output = self.scheduler.schedule()
            assert output.total_num_scheduled_tokens > 0, "nothing can go on"
            ends = [self._samples(name) for name in output.num_scheduled_tokens]
            results = self.scheduler.update_from_output(output, _answers(output.num_scheduled_tokens, ends))
            finished = [result.request_id for group in results.values() for result in group.outputs if result.finished]
            pictures = [self._pictures[name][i] for name, ids in output.scheduled_encoder_inputs.items() for i in ids]
            yield Step(pictures, output.total_num_scheduled_tokens, finished)

    def _samples(self, name: str) -> bool:
        request = self.scheduler.requests[name]
        return bool(request.num_computed_tokens >= request.num_tokens)


def _answers(scheduled: Mapping[str, int], ends: Sequence[bool]) -> ModelRunnerOutput:
    names = list(scheduled)
    return ModelRunnerOutput(names, {name: i for i, name in enumerate(names)}, [[9] if end else [] for end in ends])


def _item(picture: Picture) -> Any:
    order = wire.Order(picture.encoded, picture.kept, (), torch.empty(0, dtype=torch.int64))
    fields = {
        name: MultiModalFieldConfig.batched("image", keep_on_cpu=on_host) for name, on_host in wire.HOST_FIELDS.items()
    }
    (item,) = MultiModalKwargsItems.from_hf_inputs(BatchFeature(wire.encode([order])), fields)["image"]
    return item
