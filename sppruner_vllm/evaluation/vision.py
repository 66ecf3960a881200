"""A checkpoint's vision tower and text embeddings through transformers: what a selection looks at."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration

from sppruner_vllm.planning.plan import ReductionPlan
from sppruner_vllm.planning.smaller import Grid, resize
from sppruner_vllm.reading.captions import CAPTIONS, USUAL_DEPTH, layers_read
from sppruner_vllm.request.asked import ReductionRequest

from .chat import Chat


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
        self._chat = Chat(self._processor, self._model.config)

    def plan(self, image: Image.Image, question: str, keep_ratio: float, method: str) -> ReductionPlan:
        """The server's plan for one picture and a question."""
        grid = self._chat.grid(*image.size)
        request = ReductionRequest(keep_ratio, None, None, method)
        (plan,) = self._chat.plans(question, [grid], request)
        return plan

    def shown(self, image: Image.Image, plan: ReductionPlan) -> Image.Image:
        """The picture that is encoded under a plan."""
        return image if plan.resized is None else resize(image, plan.resized, self._chat.family.cell or 1)

    @torch.no_grad()
    def encode(self, image: Image.Image) -> tuple[Tensor, Grid]:
        """(N, D) rows in raster order, and their grid."""
        pixels = self._processor.image_processor(images=[image.convert("RGB")], return_tensors="pt")
        (grid,) = self._chat.family.grids(pixels)
        output = self._model.model.get_image_features(**pixels)
        return output.pooler_output[0], grid

    @torch.no_grad()
    def query(self, question: str) -> Tensor | None:
        """(T, D) embeddings of the question's tokens as the server finds them in the prompt; None without any."""
        ids = self._chat.query(question)
        return self._embeddings(torch.tensor(ids)) if ids else None

    def states(self, question: str) -> Tensor | None:
        """(T, D) float32, what the language model reads in these tokens, less what all text has in common."""
        ids = self._chat.query(question)
        return self._read(ids) - self._states_mean if ids else None

    @cached_property
    def _states_mean(self) -> Tensor:
        encode = self._processor.tokenizer.encode
        return torch.cat([self._read(encode(text, add_special_tokens=False)) for text in CAPTIONS]).mean(0)

    @torch.no_grad()
    def _read(self, ids: Sequence[int]) -> Tensor:
        language, lead = self._model.model.language_model, self._chat.family.lead
        read = language(input_ids=torch.tensor([[*lead, *ids]]), use_cache=False, output_hidden_states=True)
        states: Tensor = read.hidden_states[layers_read(USUAL_DEPTH, len(language.layers))][0, len(lead) :]
        return states.float()

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
