"""vLLM's own renderer of a checkpoint, as an API server has it, without an engine behind it."""

from __future__ import annotations

from pathlib import Path

from vllm import EngineArgs
from vllm.renderers import renderer_from_config
from vllm.renderers.online_renderer import OnlineRenderer

from serving import MODEL_NAME


def real_renderer(model: Path, *, trusted: bool = False) -> OnlineRenderer:
    """An OnlineRenderer with a processor and a sender cache; its BaseRenderer (`.renderer`) wants a shutdown."""
    arguments = EngineArgs(
        model=str(model), served_model_name=MODEL_NAME, max_model_len=4096, enforce_eager=True, trust_remote_code=True
    )
    config = arguments.create_engine_config()
    return OnlineRenderer(
        model_config=config.model_config,
        renderer=renderer_from_config(config),
        request_logger=None,
        chat_template=None,
        chat_template_content_format="auto",
        trust_request_mm_kwargs=trusted,
    )
