"""The files of a LLaVA checkpoint as the hub has them: its weights' names, and what its processor is told."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .checkpoint import CLIP_COLOURS, write_json


def hub_name(name: str) -> str:
    """The name that LLaVA-1.5's files on the hub have for a parameter: vLLM 0.32 knows no other for the encoder."""
    if name.startswith("lm_head."):
        return f"language_model.{name}"
    name = name.removeprefix("model.")
    if name.startswith("language_model."):
        return name.replace("language_model.", "language_model.model.", 1)
    return name.replace("vision_tower.", "vision_tower.vision_model.", 1)


def write_clip_processor(
    folder: Path,
    processor: str,
    side: int,
    pixels: Mapping[str, object],
    *,
    image: str = "<image>",
    patch: int = 14,
) -> None:
    """The files of a processor for CLIP's encoder.

    Args:
        processor: its class. side: pixels along one of what the encoder gets. pixels: further of what is done to them.
        image: the text that stands for a picture. patch: pixels along a side of a visual token.
    """
    write_json(
        folder / "preprocessor_config.json",
        {
            "processor_class": processor,
            "size": {"shortest_edge": side},
            "crop_size": {"height": side, "width": side},
            **pixels,
            **CLIP_COLOURS,
        },
    )
    write_json(
        folder / "processor_config.json",
        {
            "processor_class": processor,
            "image_token": image,
            "patch_size": patch,
            "num_additional_image_tokens": 1,
            "vision_feature_select_strategy": "default",
        },
    )
