"""A video of a single picture, where the model's processor needs two."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scheduling import configured
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.multimodal.processing.context import TimingContext
from vllm.multimodal.processing.inputs import ProcessorInputs

from beds.qwen3_vl import build_qwen3_vl
from sppruner_vllm.errors import InvalidField


def test_it_is_refused_by_its_place_and_says_what_to_do(tmp_path: Path) -> None:
    build_qwen3_vl(tmp_path)
    config = configured(tmp_path, max_model_len=2000, limit_mm_per_prompt={"image": 0, "video": 1})
    processor: Any = MULTIMODAL_REGISTRY.create_processor(config.model_config)
    known = {"fps": 2.0, "total_num_frames": 1, "frames_indices": [0], "do_sample_frames": False}
    items = processor.info.parse_mm_data({"video": [(np.zeros((1, 112, 112, 3), np.uint8), known)]})
    place = [processor.family.media_tokens["video"]]
    with pytest.raises(ValueError, match="a video needs 2 pictures at least for this model, not 1") as refused:
        processor.apply(ProcessorInputs(place, items), TimingContext())
    cause = refused.value.__cause__
    assert isinstance(cause, InvalidField)
    assert (cause.field, cause.code) == ("video_url", "invalid_media")
