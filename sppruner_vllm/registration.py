"""Makes vLLM build our model classes instead of its own; called in every process that vLLM starts."""

from __future__ import annotations

import importlib
import multiprocessing
from typing import Any

from .compat.processes import (
    fit_response_queues,
    let_front_announce_stop,
    let_ranks_share_unnamed_memory,
    let_scheduler_charge,
)
from .compat.rendering import let_processors_know_encoder_room, let_renderers_forget_pixels, let_typed_markers_be_text
from .compat.versions import check_version
from .families import ARCHITECTURES, PREPARED
from .front import leave_signals_to_front


def register() -> None:
    """Point vLLM's model registry at our classes, by name so that nothing heavy is imported yet.

    Raises:
        UnsupportedSetup: this vLLM version is not supported.
    """
    import vllm

    check_version(vllm.__version__)
    from vllm import ModelRegistry
    from vllm.model_executor.models.config import MODELS_CONFIG_MAP

    for architecture, module in ARCHITECTURES.items():
        ModelRegistry.register_model(architecture, f"{module}:{architecture}")
        MODELS_CONFIG_MAP[architecture] = _configuring(architecture, MODELS_CONFIG_MAP.get(architecture))
    fit_response_queues()
    leave_signals_to_front()
    if multiprocessing.parent_process() is None:
        # Whatever model it serves: its engines leave signals alone too.
        let_front_announce_stop()
    let_ranks_share_unnamed_memory()
    _take_in_media()


def _take_in_media() -> None:
    """Have media loaded by our connector where vLLM would have taken its own; another one that is chosen stays.

    Made no earlier than a request needs it: vLLM keeps connectors by name and calls what stands there.
    """
    from vllm.multimodal.media import MEDIA_CONNECTOR_REGISTRY

    def connector(*args: Any, **kwargs: Any) -> Any:
        from .api.connector import Connector

        return Connector(*args, **kwargs)

    MEDIA_CONNECTOR_REGISTRY.register("http")(connector)


def _configuring(architecture: str, upstream: Any) -> Any:
    """What vLLM asks about the configurations of an architecture: of the model before it looks, then of the engine.

    Our class is imported no earlier than that.

    Args:
        upstream: what vLLM would have asked, if anything; it is asked first.
    """
    from vllm.model_executor.models.config import VerifyAndUpdateConfig

    base: Any = upstream or VerifyAndUpdateConfig
    if getattr(base, "of_sppruner", False):
        return base

    class Configured(base):  # type: ignore[misc]
        of_sppruner = True

        @staticmethod
        def verify_and_update_config(vllm_config: Any) -> None:
            base.verify_and_update_config(vllm_config)
            from .engine.config import ChargingSchedulerConfig

            let_scheduler_charge(vllm_config.scheduler_config, ChargingSchedulerConfig)
            let_renderers_forget_pixels()
            let_processors_know_encoder_room()
            let_front_announce_stop()  # also in a front that is a child of something else
            let_typed_markers_be_text()

        @staticmethod
        def verify_and_update_model_config(model_config: Any) -> None:
            base.verify_and_update_model_config(model_config)
            if architecture in PREPARED:
                module = importlib.import_module(ARCHITECTURES[architecture])
                getattr(module, architecture).prepare_config(model_config.hf_config)

    return Configured
