"""A checkpoint's chat without an engine: prompts, and plans for the pictures in them, made as the server makes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from sppruner_vllm.families.llava import Llava
from sppruner_vllm.families.qwen2_5_vl import Qwen2_5_VL
from sppruner_vllm.family import Family
from sppruner_vllm.planning.plan import ReductionPlan
from sppruner_vllm.planning.planner import Prompt, Sent, plan_images
from sppruner_vllm.planning.query import turn_queries
from sppruner_vllm.planning.smaller import Grid
from sppruner_vllm.request.asked import ReductionRequest
from sppruner_vllm.settings import settings

from .capacity_tokens import Patches, token_grid
from .turns import Turn, messages


class Chat:
    """Plans for one checkpoint: a Qwen2.5-VL, or a LLaVA-1.5, which brings every picture to one size."""

    def __init__(self, processor: Any, config: Any) -> None:
        """Args:
        processor, config: the checkpoint's, of transformers.
        """
        self._processor = processor
        self._ids = lru_cache(maxsize=4096)(self._prompt)
        self.family: Family = Llava(config) if config.model_type == "llava" else Qwen2_5_VL(config)
        self._turns = self.family.turns(processor.tokenizer)
        images = processor.image_processor
        size = images.size
        self._patches = (
            None
            if self.family.cell is None
            else Patches(images.patch_size, images.merge_size, size["shortest_edge"], size["longest_edge"])
        )

    def grid(self, width: int, height: int) -> Grid:
        """(height, width) in visual tokens of a picture of so many pixels."""
        if self._patches is None:
            return self.family.token_grid(None, width, height, {})
        return token_grid(width, height, self._patches)

    def regrid(self, grid: Grid) -> Grid:
        """The grid that a picture of exactly a grid's pixels gets, of a family that knows several sizes."""
        cell = self.family.cell or 1
        return self.grid(grid[1] * cell, grid[0] * cell)

    def ids(self, question: str, pictures: int, before: Sequence[Turn] = ()) -> list[int]:
        """The prompt of a question about pictures, one placeholder for each.

        Args:
            before: earlier turns of the chat.
        """
        return list(self._ids(question, pictures, tuple(before)))

    def _prompt(self, question: str, pictures: int, before: tuple[Turn, ...]) -> tuple[int, ...]:
        chat = messages(question, before, [{"type": "image"} for _ in range(pictures)])
        text = self._processor.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        return tuple(self._encode(text))

    def text(self, said: str) -> tuple[list[int], tuple[int, int]]:
        """The prompt of a text without pictures, and where in it the text stands: start and end."""
        ids = self.ids(said, 0)
        own = self._encode(said)
        start = next(place for place in range(len(ids)) if ids[place : place + len(own)] == own)
        return ids, (start, start + len(own))

    def query(self, question: str) -> tuple[int, ...]:
        """Token ids of a question as they are found in the prompt around a picture."""
        ids = self.ids(question, 1)
        (found,) = turn_queries(ids, [ids.index(self.family.image_token)], self._turns, settings().max_query_tokens)
        return found

    def plans(
        self,
        question: str,
        grids: Sequence[Grid],
        request: ReductionRequest,
        before: Sequence[Turn] = (),
        details: Sequence[Callable[[], float]] = (),
    ) -> tuple[ReductionPlan, ...]:
        """One plan per picture.

        Args:
            grids: of the pictures as they are. before: earlier turns of the chat.
            details: what gives the detail of each picture; none where no budget depends on it.
        """
        prompt = Prompt(
            self.ids(question, len(grids), before), self.family.image_token, lambda: self._turns, self._encode
        )
        regrid = None if self._patches is None else self.regrid
        known = details or [lambda: 1.0] * len(grids)
        sent = [Sent(grid, regrid, texture=detail) for grid, detail in zip(grids, known, strict=True)]
        cut = self.family.cut
        block = None if cut is None else cut.block(settings().encoder_cut_block)
        return plan_images(sent, prompt, request, settings(), cut_block=block, skips=cut is not None)

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self._processor.tokenizer.encode(text, add_special_tokens=False)
        return ids
