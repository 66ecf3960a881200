"""A checkpoint's vision tower and text embeddings through transformers: what a selection looks at, without vLLM.

Query and text mean are those of processor.py and models/mrope.py, so that what is explained is what is served.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration

from sppruner_vllm.planning.query import TurnMarkers, turn_queries
from sppruner_vllm.planning.smaller import Grid, resize, smaller_grid
from sppruner_vllm.settings import settings


class VisionModel:
    """A Qwen2.5-VL checkpoint, loaded on the CPU in its own precision."""

    def __init__(self, model: str) -> None:
        """Load.

        Args:
            model: folder or hub name.

        Raises:
            OSError: there is no such checkpoint.
            ValueError: it is of another architecture.
        """
        self._processor: Any = AutoProcessor.from_pretrained(model)
        self._model: Any = Qwen2_5_VLForConditionalGeneration.from_pretrained(model, dtype="auto").eval()
        vision = self._model.config.vision_config
        self._merge: int = vision.spatial_merge_size
        self._cell: int = vision.patch_size * vision.spatial_merge_size

    def grid(self, image: Image.Image) -> Grid:
        """(height, width) in visual tokens."""
        _, height, width = self._pixels(image)["image_grid_thw"][0].tolist()
        return height // self._merge, width // self._merge

    def shrunk(self, image: Image.Image, most: int, least: int) -> Image.Image:
        """The image at a size of at most `most` tokens, and at least `least`."""
        return resize(image, smaller_grid(self.grid(image), most, least), self._cell)

    @torch.no_grad()
    def encode(self, image: Image.Image) -> tuple[Tensor, Grid]:
        """(N, D) rows in raster order, and their grid."""
        pixels = self._pixels(image)
        output = self._model.model.get_image_features(pixels["pixel_values"], pixels["image_grid_thw"])
        _, height, width = pixels["image_grid_thw"][0].tolist()
        return output.pooler_output[0], (height // self._merge, width // self._merge)

    @torch.no_grad()
    def query(self, question: str) -> Tensor | None:
        """(T, D) embeddings of the question's tokens as the server finds them in the prompt; None without any."""
        content: list[dict[str, str]] = [{"type": "image"}, {"type": "text", "text": question}]
        chat = [{"role": "user", "content": content}]
        text = self._processor.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        prompt: list[int] = self._processor.tokenizer.encode(text, add_special_tokens=False)
        place = prompt.index(self._model.config.image_token_id)
        (ids,) = turn_queries(prompt, [place], self._markers, settings().max_query_tokens)
        return self._embeddings(torch.tensor(ids)) if ids else None

    @cached_property
    @torch.no_grad()
    def text_mean(self) -> Tensor:
        """(D,) float32, the mean of the embedding table."""
        table: Tensor = self._embeddings.weight[: self._model.config.text_config.vocab_size]
        total = torch.stack([part.sum(0, dtype=torch.float64) for part in table.split(8192)]).sum(0)
        return (total / table.shape[0]).float()

    @property
    def _embeddings(self) -> Any:
        return self._model.get_input_embeddings()

    @property
    def _markers(self) -> TurnMarkers:
        tokenizer, config = self._processor.tokenizer, self._model.config
        vocabulary = tokenizer.get_vocab()
        vision = (
            config.image_token_id,
            config.video_token_id,
            config.vision_start_token_id,
            config.vision_end_token_id,
        )
        return TurnMarkers(
            start=vocabulary["<|im_start|>"],
            end=vocabulary["<|im_end|>"],
            newline=tokenizer.encode("\n", add_special_tokens=False)[-1],
            silent=frozenset((*tokenizer.all_special_ids, *vision)),
        )

    def _pixels(self, image: Image.Image) -> Any:
        return self._processor.image_processor(images=[image.convert("RGB")], return_tensors="pt")
