"""The entry point `lmms_eval.models`: lmms-eval knows `--model sppruner` wherever this package is installed."""

from __future__ import annotations

from typing import Any, Final

NAME: Final = "sppruner"


def manifest() -> Any:
    """What lmms-eval registers: its own `ModelManifest`."""
    from lmms_eval.models.registry_v2 import ModelManifest

    return ModelManifest(NAME, chat_class_path="sppruner_vllm.evaluation.harness.lmms_model.SpprunerServer")
