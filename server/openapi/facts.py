"""What the document says of the server it is read from, out of the state that vLLM keeps."""

from __future__ import annotations

from typing import Any

from sppruner_vllm.recipes import request_methods
from sppruner_vllm.settings import settings

from ..middleware.authentication import METRICS, PROBES
from ..request.vocabulary import highest_token
from .document import Described


def facts_of(state: Any) -> Described:
    """The facts of a server that is ready.

    Args:
        state: of vLLM's app.
    """
    chosen = settings()
    models = state.openai_serving_models
    renderer = state.online_renderer.renderer
    return Described(
        models=[*(model.name for model in models.base_model_paths), *models.lora_requests],
        highest_token=highest_token(renderer),
        context=renderer.model_config.max_model_len,
        asks_for_keys=state.sppruner_asks_for_keys,
        open_paths=PROBES | {METRICS} if chosen.open_metrics else PROBES,
        limits=chosen,
        methods=request_methods(),
    )
