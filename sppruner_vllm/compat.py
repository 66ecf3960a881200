"""Which vLLM this runs under: versions, names that have moved, and what the plugin rebinds in every process.

With server/hooks.py, which has what the server rebinds in its own process, the only place that knows. Each shim says
what it works around and when to delete it; tests/plugin/test_compat.py fails once one is not needed.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from packaging.version import Version

from sppruner_vllm.errors import UnsupportedSetup
from sppruner_vllm.front import seconds_for_engines, stopping_engines

OLDEST: Final = Version("0.32")
FIRST_UNKNOWN: Final = Version("0.34")

QUEUE_CHUNK: Final = "VLLM_MQ_MAX_CHUNK_BYTES_MB"

_SHIM: Final = "_sppruner_shim"
_DISGUISED: Final = "sppruner_disguised"
_TYPED_MARKER: Final = "a message holds a special token of this model, which its tokenizer cannot read as text"


def check_version(version: str) -> None:
    """Refuse a vLLM whose hooks we have not read.

    Raises:
        UnsupportedSetup: outside [0.32, 0.34).
    """
    if not OLDEST <= Version(Version(version).base_version) < FIRST_UNKNOWN:
        raise UnsupportedSetup(f"sppruner_vllm supports vllm>={OLDEST},<{FIRST_UNKNOWN}; this is vLLM {version}")


def fit_response_queues() -> None:
    """Give the queues of worker answers the chunk size that VLLM_MQ_MAX_CHUNK_BYTES_MB sets; without it, nothing.

    vLLM 0.32 and 0.33 read it for the executor's own queue alone (v1/executor/multiproc_executor.py), and want 240 MiB
    of /dev/shm for each of the others, where a container has 64 by default. A message larger than a chunk goes by
    socket. Expiry: vLLM reading it for all queues.
    """
    if (chunk := os.environ.get(QUEUE_CHUNK)) is None:
        return
    from vllm.distributed.device_communicators.shm_broadcast import MessageQueue

    original = MessageQueue.__init__
    if hasattr(original, _SHIM):
        return

    @functools.wraps(original)
    def fitted(self: Any, n_reader: int, n_local_reader: int, *args: Any, **kwargs: Any) -> None:
        if len(args) < 2:  # the second is max_chunk_bytes
            kwargs.setdefault("max_chunk_bytes", int(chunk) * 2**20)
        original(self, n_reader, n_local_reader, *args, **kwargs)

    setattr(fitted, _SHIM, True)
    MessageQueue.__init__ = fitted


def serve_parser() -> Any:
    """vLLM's own parser of its serve flags.

    Expiry: the module moved in 0.33; drop the older branch with support for 0.32.
    """
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    try:
        from vllm.entrypoints.common.cli_args import make_arg_parser
    except ModuleNotFoundError:
        from vllm.entrypoints.launchers.cli_args import make_arg_parser
    return make_arg_parser(FlexibleArgumentParser(prog="sppruner-serve"))


def media_placeholders() -> Collection[str]:
    """Text that vLLM takes for the place of a picture or video, though it is no token (`--interleave-mm-strings`).

    Expiry: the module moved in 0.33; drop the older branch with support for 0.32.
    """
    try:
        from vllm.renderers.chat_utils.content_parser import MODALITY_PLACEHOLDERS_MAP
    except ModuleNotFoundError:
        from vllm.renderers.chat_utils import MODALITY_PLACEHOLDERS_MAP
    placeholders: Collection[str] = MODALITY_PLACEHOLDERS_MAP.values()
    return placeholders


def set_up_command() -> None:
    """What vLLM's own command does to the environment before anything else.

    Expiry: the module moved in 0.33; drop the older branch with support for 0.32.
    """
    try:
        from vllm.entrypoints.common.startup import cli_env_setup
    except ModuleNotFoundError:
        from vllm.entrypoints.serve.utils.api_utils import cli_env_setup
    cli_env_setup()


def is_client_gone(answer: object) -> bool:
    """Whether what a route of vLLM's returned stands for a client that left before its answer.

    vLLM 0.32 returns None then, 0.33 a 200 with nothing in it, which would otherwise count as an answer
    (entrypoints/serve/utils/api_utils.py, `with_cancellation`).
    Expiry: drop None with support for 0.32.
    """
    from starlette.responses import Response

    return answer is None or (type(answer) is Response and not answer.body)


def let_runners_ask(config: Any, asking: type[Any]) -> None:
    """Make this process's runner strip our columns and ask the model for positions.

    Both runners do so where the multimodal configuration says that the model prunes, which vLLM 0.32 and 0.33 know of
    videos alone (config/multimodal.py, `is_multimodal_pruning_enabled`). A subclass says it for this configuration
    only; what upstream reads of videos stays as it is.
    Expiry: a switch of upstream's for pictures.

    Args:
        config: vLLM's MultiModalConfig. asking: a subclass of its class that says yes.
    """
    config.__class__ = asking
    from vllm.platforms import current_platform

    if current_platform.is_cpu():
        _let_cpu_runner_ask()
    _ask_in_steps_with_pictures()


def call_when_warm(worker: type[Any], then: Callable[[Any], None]) -> None:
    """Have this process's worker call `then` with itself once it is warm, before it is given any request.

    vLLM 0.32 and 0.33 end a worker's start with `compile_or_warm_up_model` (v1/worker/worker_base.py), of which they
    tell no model.
    Expiry: a hook of models or plugins at the end of warm-up.

    Args:
        worker: the class of this process's worker.
    """
    _follow(worker, "compile_or_warm_up_model", then)


def let_scheduler_charge(config: Any, charging: type[Any]) -> None:
    """Make the engine core's scheduler count the encoder's work by whole pictures.

    vLLM 0.32 and 0.33 count it by the rows that stay, of which they know videos' alone to be fewer
    (v1/core/sched/scheduler.py, `_try_schedule_encoder_inputs`). The configuration names the class of the scheduler
    before asynchronous scheduling is settled, so it is a subclass of the configuration that chooses.
    Expiry: a count of upstream's for what the encoder computes.

    Args:
        config: vLLM's SchedulerConfig. charging: a subclass of its class that chooses such a scheduler.
    """
    if not isinstance(config, charging):
        config.__class__ = charging


def _let_cpu_runner_ask() -> None:
    """Let the CPU runner look at what the configuration says.

    `CPUModelRunner.load_model` (vLLM 0.32 and 0.33, v1/worker/cpu_model_runner.py:62) overrides the GPU one without
    setting `is_multimodal_pruning_enabled`, so reduced images would reach the language model with their columns on.
    Called while the model is built; the KV cache is initialised after that and before the first request.
    Expiry: delete when upstream's `load_model` looks at it.
    """
    from vllm.model_executor.models.interfaces import supports_multimodal_pruning
    from vllm.v1.worker.cpu_model_runner import CPUModelRunner

    upstream = CPUModelRunner.initialize_kv_cache
    if hasattr(upstream, _SHIM):
        return

    @functools.wraps(upstream)
    def initialize_kv_cache(self: Any, *args: Any, **kwargs: Any) -> Any:
        config = self.model_config.multimodal_config
        self.is_multimodal_pruning_enabled = (
            config is not None
            and config.is_multimodal_pruning_enabled()
            and supports_multimodal_pruning(self.get_model())
        )
        return upstream(self, *args, **kwargs)

    setattr(initialize_kv_cache, _SHIM, True)
    CPUModelRunner.initialize_kv_cache = initialize_kv_cache


def _ask_in_steps_with_pictures() -> None:
    """Keep runner V1 from asking for positions in a step that no picture or video is part of.

    vLLM 0.32 and 0.33 ask for every request in every step and then compute the positions of the whole batch once more
    (v1/worker/gpu_model_runner.py, `_gather_mm_embeddings`): with eight requests a twentieth of a millisecond and more,
    for each token. Where a step holds no media there is nothing to gather.
    Expiry: upstream asking only where there are embeddings, as its runner V2 does.
    """
    import torch
    from vllm.v1.worker.gpu_model_runner import PIN_MEMORY, GPUModelRunner

    upstream = GPUModelRunner._gather_mm_embeddings
    if hasattr(upstream, _SHIM):
        return

    @functools.wraps(upstream)
    def gather(self: Any, scheduler_output: Any, shift_computed_tokens: int = 0) -> Any:
        if not self.is_multimodal_pruning_enabled or _holds_media(self, shift_computed_tokens):
            return upstream(self, scheduler_output, shift_computed_tokens)
        # What upstream would find request by request: no embeddings, and no token that stands for one.
        tokens = scheduler_output.total_num_scheduled_tokens
        return [], torch.zeros(tokens, dtype=torch.bool, device="cpu", pin_memory=PIN_MEMORY)

    setattr(gather, _SHIM, True)
    GPUModelRunner._gather_mm_embeddings = gather


def _holds_media(runner: Any, shift: int) -> bool:
    """Whether some request of runner V1's batch has media, which it holds by place, that are not wholly behind it."""
    for name in runner.input_batch.req_ids:
        request = runner.requests[name]
        if request.mm_features:
            last = request.mm_features[-1].mm_position
            if request.num_computed_tokens + shift < last.offset + last.length:
                return True
    return False


def let_workers_forget_rows() -> None:
    """Have a model drop the rows it keeps whenever its worker drops encoder outputs or takes new weights.

    vLLM 0.32 and 0.33 tell a model of neither (v1/worker/gpu_worker.py). Pausing and sleep mode come through
    `reset_encoder_cache`; a transfer of weights may copy them into place past the model's `load_weights`.
    Expiry: a hook of upstream's for what a model keeps.
    """
    from vllm.v1.worker.gpu_worker import Worker

    for name in ("reset_encoder_cache", "reload_weights", "finish_weight_update"):
        _follow(Worker, name, lambda worker: _have_forget(worker.model_runner.get_model(), "forget_rows"))


def let_workers_tell(name: str) -> None:
    """Give workers a method of this name, which passes on to their model's `tell`; other models have nothing to tell.

    vLLM 0.32 and 0.33 call methods of a worker by their name (`collective_rpc`); of its model they call none, unless
    functions may be sent to workers.
    Expiry: a call of upstream's that reaches the model.
    """
    from vllm.v1.worker.gpu_worker import Worker

    def told(self: Any, *args: Any) -> Any:
        tell = getattr(self.model_runner.get_model(), "tell", None)
        return {} if tell is None else tell(*args)

    setattr(Worker, name, told)


def let_renderers_forget_pixels() -> None:
    """Have a processor drop the pixels it keeps whenever vLLM clears its own cache of processed pictures.

    vLLM 0.32 and 0.33 tell a processor nothing of it (renderers/base.py, `clear_mm_cache`). To be called before a
    renderer is made, for it holds on to the method. A picture sent under the UUID of another would else keep the old
    pixels for good.
    Expiry: a hook of upstream's for what a processor keeps.
    """
    from vllm.renderers.base import BaseRenderer

    _follow(BaseRenderer, "clear_mm_cache", lambda renderer: _have_forget(renderer.mm_processor, "forget_pixels"))


def let_processors_know_encoder_room() -> None:
    """Tell a processor how many rows of the encoder one item of a prompt may have.

    vLLM 0.32 and 0.33 refuse larger items by the rows that stay (v1/engine/input_processor.py,
    `_validate_model_input`), while the encoder makes all rows of a reduced video. The limit depends on the scheduler's
    configuration, which a processor never sees. To be called before the engine's front is made.
    Expiry: a count of upstream's for what the encoder computes.
    """
    from vllm.v1.engine.input_processor import InputProcessor

    def tell(front: Any) -> None:
        know = getattr(front.renderer.mm_processor, "know_encoder_room", None)
        if know is not None:
            know(front.mm_encoder_cache_size)

    _follow(InputProcessor, "__init__", tell)


def let_front_announce_stop() -> None:
    """Have a front say that it stops its engines before it signals them, so that they can leave other signals alone.

    vLLM (0.32 and 0.33, v1/engine/utils.py, CoreEngineProcManager) stops an engine with the very signal that a service
    manager or a terminal sends to all processes of a server, and an engine obeys whoever sent it (front.py).
    Expiry: engines that leave signals to their front.
    """
    from vllm.v1.engine.utils import CoreEngineProcManager

    upstream = CoreEngineProcManager.shutdown
    if hasattr(upstream, _SHIM):
        return

    @functools.wraps(upstream)
    def announced(self: Any, timeout: float | None = None) -> None:
        with stopping_engines():
            upstream(self, seconds_for_engines(timeout))

    setattr(announced, _SHIM, True)
    CoreEngineProcManager.shutdown = announced


def let_ranks_share_unnamed_memory() -> None:
    """Have the ranks of a CPU server take the name of the memory that they share away once all of them hold it.

    vLLM (0.32 and 0.33, csrc/cpu/shm.cpp) unlinks it when a rank ends in peace, so that it stays in /dev/shm when one
    is killed; that a name is gone by then is all the same to it. To be called before ranks meet.
    Expiry: shared memory of upstream's that no killed process leaves behind.
    """
    from vllm.distributed.device_communicators.cpu_communicator import _CPUSHMDistributed

    def unlink(shared: Any) -> None:
        Path(f"/dev/shm/{shared.group_name}_{shared.communicator.rank}").unlink(missing_ok=True)  # noqa: S108

    _follow(_CPUSHMDistributed, "_init_cpu_shm", unlink)


def let_typed_markers_be_text() -> None:
    """Have a renderer keep what clients typed apart from what its chat template made.

    vLLM 0.32 and 0.33 tokenize both in one string, and count a typed marker as a picture's place
    (renderers/hf.py, `render_messages`; renderers/base.py, `_tokenize_prompt`). To be called before a renderer is made,
    for it holds on to the methods. A model whose processor is not ours is rendered as ever.
    Expiry: a template of upstream's that cannot be typed into.
    """
    from vllm.exceptions import VLLMValidationError
    from vllm.renderers.hf import HfRenderer

    upstream, upstream_async, tokenize = (
        HfRenderer.render_messages,
        HfRenderer.render_messages_async,
        HfRenderer._tokenize_prompt,
    )
    if hasattr(upstream, _SHIM):
        return

    def disguised(renderer: Any, messages: Any, params: Any) -> tuple[Any, Any, bool]:
        markers = getattr(renderer.mm_processor, "typed_markers", None)
        if markers is None:
            return messages, params, False
        messages, given, found = markers.disguise(messages, params.chat_template_kwargs)
        return messages, replace(params, chat_template_kwargs=given) if found else params, found

    def counted(renderer: Any, messages: Any, params: Any) -> AbstractContextManager[None]:
        """Pictures are counted, and as they come in held against the room in the prompt (api/room.py)."""
        rendering = getattr(renderer.mm_processor, "rendering", None)
        return nullcontext() if rendering is None else rendering(params.mm_processor_kwargs or {}, messages)

    def marked(renderer: Any, conversation: Any, prompt: Any) -> tuple[Any, Any]:
        if not isinstance(prompt.get("prompt"), str):
            raise VLLMValidationError(_TYPED_MARKER, parameter="messages")
        prompt[_DISGUISED] = True
        return renderer.mm_processor.typed_markers.reveal(conversation), prompt

    @functools.wraps(upstream)
    def render_messages(self: Any, messages: Any, params: Any) -> Any:
        messages, params, found = disguised(self, messages, params)
        with counted(self, messages, params):
            rendered = upstream(self, messages, params)
        return marked(self, *rendered) if found else rendered

    @functools.wraps(upstream_async)
    async def render_messages_async(self: Any, messages: Any, params: Any) -> Any:
        messages, params, found = disguised(self, messages, params)
        with counted(self, messages, params):
            rendered = await upstream_async(self, messages, params)
        return marked(self, *rendered) if found else rendered

    @functools.wraps(tokenize)
    def tokenize_prompt(self: Any, prompt: Any, params: Any) -> Any:
        if not prompt.get(_DISGUISED):
            return tokenize(self, prompt, params)
        prompt = {key: value for key, value in prompt.items() if key != _DISGUISED}
        try:
            prompt["prompt"], ids = self.mm_processor.typed_markers.cut(prompt["prompt"], params.get_encode_kwargs())
        except ValueError as error:
            raise VLLMValidationError(_TYPED_MARKER, parameter="messages") from error
        return tokenize(self, prompt, params) if ids is None else self._build_tokens_prompt(ids, prompt)

    setattr(render_messages, _SHIM, True)
    HfRenderer.render_messages = render_messages
    HfRenderer.render_messages_async = render_messages_async
    HfRenderer._tokenize_prompt = tokenize_prompt


def _follow(owner: type[Any], name: str, then: Callable[[Any], None]) -> None:
    """Have a method of upstream's call `then` with its object once it is through; once, however often this is asked."""
    upstream = getattr(owner, name)
    if hasattr(upstream, _SHIM):
        return

    @functools.wraps(upstream)
    def followed(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = upstream(self, *args, **kwargs)
        then(self)
        return result

    setattr(followed, _SHIM, True)
    setattr(owner, name, followed)


def _have_forget(keeper: Any, name: str) -> None:
    """Another plugin's model or processor keeps nothing of ours."""
    forget = getattr(keeper, name, None)
    if forget is not None:
        forget()
