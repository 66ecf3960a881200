"""One file per model family: all that is known of it, and nowhere else. A line here makes vLLM use it."""

from __future__ import annotations

from typing import Final

ARCHITECTURES: Final = {
    "Glm4vForConditionalGeneration": f"{__name__}.glm4_1v",
    "InternVLChatModel": f"{__name__}.internvl_chat",
    "InternVLForConditionalGeneration": f"{__name__}.internvl",
    "LlavaForConditionalGeneration": f"{__name__}.llava",
    "LlavaNextForConditionalGeneration": f"{__name__}.llava_next",
    "LlavaOnevisionForConditionalGeneration": f"{__name__}.llava_onevision",
    "Qwen2VLForConditionalGeneration": f"{__name__}.qwen2_vl",
    "Qwen2_5_VLForConditionalGeneration": f"{__name__}.qwen2_5_vl",
    "Qwen3VLForConditionalGeneration": f"{__name__}.qwen3_vl",
    "Qwen3VLMoeForConditionalGeneration": f"{__name__}.qwen3_vl_moe",
}
"""Architecture, as a checkpoint's config.json names it, to the module with a class of that name."""

PREPARED: Final = frozenset(
    {
        "InternVLChatModel",
        "InternVLForConditionalGeneration",
        "LlavaForConditionalGeneration",
        "LlavaNextForConditionalGeneration",
        "LlavaOnevisionForConditionalGeneration",
    }
)
"""Architectures whose class has to look at the configuration before vLLM does (`prepare_config`)."""
