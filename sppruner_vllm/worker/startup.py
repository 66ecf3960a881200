"""Start-up: which options go with reduction, and what tells vLLM's runners that pictures are reduced."""

from __future__ import annotations

from typing import get_args

from vllm.config import VllmConfig
from vllm.config.multimodal import MultiModalConfig
from vllm.logger import init_logger

from sppruner_vllm.errors import UnsupportedSetup
from sppruner_vllm.family import TowerCut
from sppruner_vllm.recipes import request_methods
from sppruner_vllm.reduction import Need
from sppruner_vllm.settings import settings

from .served import overheard_by_requests

logger = init_logger("vllm.sppruner")


class ReducingMultiModalConfig(MultiModalConfig):
    """Says that tokens are dropped, so that runners ask for positions; upstream's own pruning of videos stays off."""

    def is_multimodal_pruning_enabled(self) -> bool:
        return True


def check_setup(
    config: VllmConfig, heard: frozenset[Need] = frozenset(get_args(Need)), cut: TowerCut | None = None
) -> None:
    """Refuse start-up options under which positions or counts would be wrong.

    Args:
        heard: what can be overheard in the encoder of this family. cut: how tokens are dropped inside it.

    Raises:
        UnsupportedSetup: says which option, and why.
    """
    if config.parallel_config.pipeline_parallel_size > 1:
        raise UnsupportedSetup(
            "visual-token reduction needs --pipeline-parallel-size 1: only the first stage learns kept positions"
        )
    if config.model_config.multimodal_config.video_pruning_rate:
        raise UnsupportedSetup("visual-token reduction and --video-pruning-rate exclude each other")
    if config.model_config.enable_prompt_embeds:
        raise UnsupportedSetup("visual-token reduction and --enable-prompt-embeds exclude each other")
    if settings().method not in request_methods():
        raise UnsupportedSetup(f"SPPRUNER_METHOD={settings().method} is none of {', '.join(sorted(request_methods()))}")
    if settings().saliency_attention and "attention" not in heard:
        raise UnsupportedSetup("SPPRUNER_SALIENCY_ATTENTION: the attention of this model's encoder cannot be overheard")
    if settings().rank_on == "patches" and "merger_input" not in heard:
        logger.warning("SPPRUNER_RANK_ON: the patches of this model's encoder cannot be overheard; rows are ranked on")
    if needs := overheard_by_requests() & heard:
        _check_taps_hear(config, needs)
    if settings().encoder_cut:
        _check_cut(config, cut, "SPPRUNER_ENCODER_CUT")
        _check_block(cut)
    if settings().skip_repeats:
        _check_cut(config, cut, "SPPRUNER_SKIP_REPEATS")
    lora = config.lora_config
    if lora is not None and lora.enable_tower_connector_lora and settings().min_keep_ratio == 0:
        raise UnsupportedSetup(
            "--enable-tower-connector-lora needs SPPRUNER_MIN_KEEP_RATIO above 0, which bounds a step's encoder tokens"
        )


def _check_cut(config: VllmConfig, cut: TowerCut | None, whose: str) -> None:
    """Refuse what cannot be left out of the encoder; if it silently was not, the rest would be taken for its speed."""
    if cut is None:
        raise UnsupportedSetup(f"{whose}: no tokens can be dropped inside this model's encoder")
    if config.compilation_config.compile_mm_encoder:
        raise UnsupportedSetup(f"{whose} and compile_mm_encoder exclude each other")
    tensor_parallel = config.parallel_config.tensor_parallel_size > 1
    if tensor_parallel and config.model_config.multimodal_config.mm_encoder_tp_mode == "data":
        raise UnsupportedSetup(f"{whose} and --mm-encoder-tp-mode data exclude each other")
    if config.lora_config is not None and config.lora_config.enable_tower_connector_lora:
        raise UnsupportedSetup(
            f"{whose} and --enable-tower-connector-lora exclude each other: adapters count all tokens"
        )


def _check_block(cut: TowerCut | None) -> None:
    if cut is not None and cut.block(settings().encoder_cut_block) is None:
        raise UnsupportedSetup(
            f"SPPRUNER_ENCODER_CUT: SPPRUNER_ENCODER_CUT_BLOCK must name one of this encoder's blocks 0 to {cut.last}"
        )


def _check_taps_hear(config: VllmConfig, needs: frozenset[Need]) -> None:
    """Refuse what would leave a tap without effect."""
    whose = "a reduction method that taps the encoder"
    if "attention" in needs:
        whose = "SPPRUNER_SALIENCY_ATTENTION"
    elif settings().rank_on == "patches":
        whose = "SPPRUNER_RANK_ON=patches"
    tensor_parallel = config.parallel_config.tensor_parallel_size > 1
    if tensor_parallel and config.model_config.multimodal_config.mm_encoder_tp_mode == "data":
        raise UnsupportedSetup(f"{whose} and --mm-encoder-tp-mode data exclude each other: a rank sees only its images")
    if config.compilation_config.compile_mm_encoder:
        raise UnsupportedSetup(f"{whose} and compile_mm_encoder exclude each other: a compiled encoder fires no hook")
