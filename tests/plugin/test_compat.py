"""Which vLLM we accept, and whether each shim is still needed."""

from __future__ import annotations

import asyncio
import inspect
import os
import re
from types import SimpleNamespace

import pytest

import sppruner_vllm
from sppruner_vllm.compat import processes, rendering, versions, workers
from sppruner_vllm.errors import UnsupportedSetup
from sppruner_vllm.families import ARCHITECTURES


@pytest.mark.parametrize("version", ["0.32.0", "0.32.0+cpu", "0.32.1", "0.33.0", "0.33.2rc1", "0.33.1.dev3+gabc"])
def test_known_versions_of_vllm_are_accepted(version: str) -> None:
    versions.check_version(version)


@pytest.mark.parametrize("version", ["0.31.9", "0.34.0", "0.34.0rc1", "1.0"])
def test_other_versions_are_refused_clearly(version: str) -> None:
    with pytest.raises(UnsupportedSetup, match=r"supports vllm>=0\.32,<0\.34"):
        versions.check_version(version)


def test_registering_twice_is_harmless() -> None:
    from vllm import ModelRegistry

    sppruner_vllm.register()
    sppruner_vllm.register()
    assert set(ARCHITECTURES) <= set(ModelRegistry.get_supported_archs())


def test_the_cpu_runner_still_needs_its_gate_opened() -> None:
    from vllm.v1.worker.cpu_model_runner import CPUModelRunner

    assert "is_multimodal_pruning_enabled" not in inspect.getsource(CPUModelRunner.load_model)


def test_the_cpu_runner_initialises_its_cache_where_we_open_its_gate() -> None:
    from vllm.v1.worker import gpu_worker
    from vllm.v1.worker.cpu_model_runner import CPUModelRunner
    from vllm.v1.worker.gpu_model_runner import GPUModelRunner

    assert "initialize_kv_cache" in vars(CPUModelRunner)
    assert "self.model_runner.initialize_kv_cache(" in inspect.getsource(gpu_worker)
    assert "self.is_multimodal_pruning_enabled" in inspect.getsource(GPUModelRunner)


def test_a_workers_start_ends_with_what_we_are_called_after() -> None:
    from vllm.v1.engine import core
    from vllm.v1.worker.cpu_worker import CPUWorker
    from vllm.v1.worker.gpu_worker import Worker
    from vllm.v1.worker.worker_base import WorkerBase

    assert "self.model_executor.compile_or_warm_up_model()" in inspect.getsource(core)
    assert all("compile_or_warm_up_model" in vars(worker) for worker in (CPUWorker, Worker, WorkerBase))


def test_a_warm_worker_calls_once_however_often_that_was_asked_for() -> None:
    class Worker:
        def compile_or_warm_up_model(self) -> str:
            return "times"

    called: list[object] = []
    workers.call_when_warm(Worker, called.append)
    workers.call_when_warm(Worker, called.append)
    worker = Worker()
    assert worker.compile_or_warm_up_model() == "times"
    assert called == [worker]


def test_runner_v1_still_asks_for_positions_in_every_step() -> None:
    """Once it asks only where there are embeddings, the shim can go."""
    from vllm.v1.worker.gpu_model_runner import GPUModelRunner

    upstream = inspect.unwrap(GPUModelRunner._gather_mm_embeddings)
    assert list(inspect.signature(upstream).parameters) == ["self", "scheduler_output", "shift_computed_tokens"]
    source = inspect.getsource(upstream)
    assert "if self.is_multimodal_pruning_enabled and self.uses_mrope:" in source
    assert "for req_id in self.input_batch.req_ids:" in source
    assert "num_computed_tokens = req_state.num_computed_tokens + shift_computed_tokens" in source
    # What the shim answers in a step without media.
    assert "mm_embeds = list[torch.Tensor]()" in source
    assert source.rstrip().endswith("return mm_embeds, is_mm_embed")


def test_vllm_still_holds_only_what_stays_of_an_item_against_the_encoders_room() -> None:
    """Once it counts what the encoder makes, the shim can go."""
    from vllm.v1.engine.input_processor import InputProcessor

    check = inspect.getsource(InputProcessor._validate_model_input)
    assert "num_embeds = mm_position.get_num_embeds()" in check
    assert "if num_embeds > self.mm_encoder_cache_size:" in check
    made = inspect.getsource(inspect.unwrap(InputProcessor.__init__))
    assert "self.renderer = " in made
    assert "self.mm_encoder_cache_size = mm_budget.encoder_cache_size" in made


def test_the_queues_are_made_with_the_arguments_we_take_them_to_have() -> None:
    from vllm.distributed.device_communicators.shm_broadcast import MessageQueue

    names = list(inspect.signature(MessageQueue.__init__).parameters)
    assert names[:5] == ["self", "n_reader", "n_local_reader", "local_reader_ranks", "max_chunk_bytes"]


def test_what_vllms_command_sets_up_is_found_in_this_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_WORKER_MULTIPROC_METHOD", "")
    monkeypatch.delenv("VLLM_WORKER_MULTIPROC_METHOD")
    versions.set_up_command()
    assert os.environ["VLLM_WORKER_MULTIPROC_METHOD"] == "spawn"


def test_a_client_that_left_is_told_from_an_answer_as_this_version_returns_it() -> None:
    """vLLM's own wrapper of its routes, with a client that is gone before the answer and one that is not."""
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from vllm.entrypoints.serve.utils.api_utils import with_cancellation

    async def ask(left: bool) -> object:
        answered = asyncio.Event()

        async def receive() -> dict[str, str]:
            if not left:
                await answered.wait()
            return {"type": "http.disconnect"}

        @with_cancellation
        async def route(request: object, raw_request: Request) -> Response:
            if left:
                await answered.wait()
            return JSONResponse({})

        return await route(None, Request({"type": "http"}, receive))

    assert versions.is_client_gone(asyncio.run(ask(left=True)))
    assert not versions.is_client_gone(asyncio.run(ask(left=False)))
    assert not versions.is_client_gone(Response(b"{}", media_type="application/json"))


def test_the_parts_of_the_renderer_that_the_cache_shim_replaces_exist() -> None:
    from vllm.multimodal.cache.lru import LruKeyReplicatedSenderCache
    from vllm.renderers.base import BaseRenderer

    source = inspect.getsource(BaseRenderer)
    for attribute in ("_mm_executor", "_process_multimodal_async"):
        assert f"self.{attribute} = " in source
    assert isinstance(BaseRenderer.mm_processor_cache, property)
    assert callable(LruKeyReplicatedSenderCache.get_and_update_item)


def test_workers_still_do_not_tell_a_model_that_what_it_keeps_is_stale() -> None:
    from vllm.v1.worker.gpu_worker import Worker

    for name in ("reset_encoder_cache", "reload_weights", "finish_weight_update"):
        upstream = inspect.unwrap(getattr(Worker, name))
        assert not re.search(r"get_model\(\)\.\w+\(", inspect.getsource(upstream)), name


def test_a_worker_that_drops_encoder_outputs_lets_its_model_forget() -> None:
    from vllm.v1.worker.gpu_worker import Worker

    workers.let_workers_forget_rows()
    workers.let_workers_forget_rows()
    told: list[str] = []
    runner = SimpleNamespace(
        get_model=lambda: SimpleNamespace(forget_rows=lambda: told.append("model")),
        reset_encoder_cache=lambda: told.append("runner"),
    )
    Worker.reset_encoder_cache(SimpleNamespace(model_runner=runner))
    assert told == ["runner", "model"], "once, however often it is asked for"
    runner.get_model = SimpleNamespace
    Worker.reset_encoder_cache(SimpleNamespace(model_runner=runner))
    assert told == ["runner", "model", "runner"], "a model of another plugin keeps nothing"


def test_a_renderer_still_tells_its_processor_nothing_of_a_cache_that_is_cleared() -> None:
    from vllm.renderers.base import BaseRenderer

    rendering.let_renderers_forget_pixels()
    upstream = inspect.getsource(inspect.unwrap(BaseRenderer.clear_mm_cache))
    assert "_mm_processor_cache" in upstream
    assert "self.mm_processor" not in upstream
    assert "self.mm_processor" in inspect.getsource(BaseRenderer.__init__)


def test_the_hooks_we_override_exist_upstream() -> None:
    from vllm.model_executor.models.qwen2_5_vl import Qwen2_5_VLForConditionalGeneration as Model
    from vllm.multimodal.processing import BaseMultiModalProcessor as Processor

    from sppruner_vllm.api.processor import ReductionProcessorMixin
    from sppruner_vllm.families.qwen import QwenModelMixin
    from sppruner_vllm.worker.original_positions import OriginalPositionsMixin
    from sppruner_vllm.worker.reducing import ReducingMixin

    mixins = (ReducingMixin, OriginalPositionsMixin, QwenModelMixin)
    own = {"family_of", "get_model_state_cls", "forget_rows", "rehearse", "tell"}
    members = {name: value for mixin in mixins for name, value in vars(mixin).items()}
    model_hooks = {name for name, value in members.items() if callable(value) and name[0] != "_"} - own
    assert model_hooks <= set(dir(Model))
    hooks = ("apply", "get_dummy_inputs", "_get_mm_hashes", "_get_cache_missing_processor_kwargs")
    hooks += ("_apply_hf_processor_main", "_get_mm_fields_config", "_get_prompt_updates")
    for hook in hooks:
        assert hook in vars(ReductionProcessorMixin)
        assert hasattr(Processor, hook)


def test_the_queues_of_worker_answers_still_need_their_chunk_size_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once vLLM sizes them by VLLM_MQ_MAX_CHUNK_BYTES_MB itself, the shim can go."""
    from vllm.distributed.device_communicators.shm_broadcast import MessageQueue
    from vllm.v1.executor import multiproc_executor

    assert "self.worker_response_mq = MessageQueue(1, 1)" in inspect.getsource(multiproc_executor)
    seen = []

    def init(self, n_reader, n_local_reader, local_reader_ranks=None, max_chunk_bytes=None):
        seen.append(max_chunk_bytes)

    monkeypatch.setattr(MessageQueue, "__init__", init)
    processes.fit_response_queues()
    MessageQueue(1, 1)
    monkeypatch.setenv(processes.QUEUE_CHUNK, "2")
    processes.fit_response_queues()
    processes.fit_response_queues()
    MessageQueue(1, 1)
    MessageQueue(1, 1, None, 5)
    MessageQueue(1, 1, max_chunk_bytes=7)
    assert seen == [None, 2 * 2**20, 5, 7]


def test_every_rank_holds_the_shared_memory_when_its_name_goes() -> None:
    from vllm.distributed.device_communicators.cpu_communicator import _CPUSHMDistributed

    source = inspect.getsource(inspect.unwrap(_CPUSHMDistributed._init_cpu_shm))
    assert "torch.distributed.barrier" in source.partition("join_shm_manager(")[2]
    assert "self.communicator.rank," in source.partition("init_shm_manager(")[2]


def test_a_renderer_still_cuts_what_was_typed_with_what_its_template_made() -> None:
    from vllm.renderers.base import BaseRenderer
    from vllm.renderers.hf import HfRenderer

    for name in ("render_messages", "render_messages_async"):
        source = inspect.getsource(inspect.unwrap(getattr(HfRenderer, name)))
        assert "params.get_apply_chat_template_kwargs()" in source
        assert "conversation, mm_data, mm_uuids = " in source
    assert 'tokenizer(prompt["prompt"], **kwargs)' in inspect.getsource(inspect.unwrap(BaseRenderer._tokenize_prompt))
    assert "self._tokenize_prompt, executor" in inspect.getsource(BaseRenderer.__init__)


def test_what_vllm_takes_for_the_place_of_a_picture_is_found_in_this_version() -> None:
    assert "<##IMAGE##>" in versions.media_placeholders()
