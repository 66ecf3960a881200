"""The configuration of InternVL's original format, as its checkpoints bring it: code that nobody but they have."""

from typing import Any

from transformers import PreTrainedConfig, Qwen2Config


class InternVLChatConfig(PreTrainedConfig):
    """A vision tower's configuration, a language model's, and how pictures are tiled."""

    model_type = "internvl_chat"
    has_no_defaults_at_init = True

    def __init__(self, vision_config: dict[str, Any], llm_config: dict[str, Any], **tiling: Any) -> None:
        super().__init__(**tiling)
        self.vision_config = PreTrainedConfig(**vision_config)
        self.llm_config = Qwen2Config(**llm_config)
