"""A checkpoint in plain tensor code: encode pictures once, then read them under many selections.

Positions are those of the unreduced prompt, as in serving. Made for the small demo model on a CPU, where a serving
engine spends most of its time around the model; tests/engine holds both to the same answers.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby, islice
from typing import Any, ClassVar, Final, Literal, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import pad
from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration

from sppruner_vllm.demo.forward import Cache, decode, encode
from sppruner_vllm.family import MediaSpan
from sppruner_vllm.planning.smaller import Grid
from sppruner_vllm.reading.captions import CAPTIONS, USUAL_DEPTH, layers_read
from sppruner_vllm.wire import StageOrder
from sppruner_vllm.worker.positions import initial_positions

from .attention_probe import looked_at
from .chat import Chat
from .turns import Turn

Tap = Literal["attention", "merger_input"]
"""What an encoder gives beside its rows, named as `Method.needs` names it."""

NO_TAPS: Final[Set[Tap]] = frozenset()


@dataclass(frozen=True, slots=True)
class Seen:
    """An encoded picture.

    rows: (N, D) float32. grid: (height, width). attention: (N,) received in one block. merger_input: (N, patches, F),
    those behind each row. Both are None where they were not asked for, or where nothing gives them.
    """

    rows: Tensor
    grid: Grid
    attention: Tensor | None = None
    merger_input: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt with its pictures in place. embedded: (T, D). positions: (3, T) M-RoPE. pictures: where each stands."""

    embedded: Tensor
    positions: Tensor
    pictures: tuple[slice, ...]

    @property
    def visual(self) -> int:
        """How many visual tokens are in it."""
        return sum(place.stop - place.start for place in self.pictures)


_REMEMBERED: Final = 4096
"""Questions and shapes of prompts that are kept."""


class EnginelessModel:
    """A Qwen2.5-VL checkpoint, float32, on the CPU; `engineless_llava.py` has what is otherwise on a LLaVA-1.5."""

    architecture: ClassVar[Any] = Qwen2_5_VLForConditionalGeneration
    on_a_line: ClassVar[bool] = False

    def __init__(self, model: str) -> None:
        """Load the checkpoint of that folder or hub name."""
        self._processor: Any = AutoProcessor.from_pretrained(model)
        self._model: Any = self.architecture.from_pretrained(model, dtype=torch.float32).eval()
        self._table = cast("Tensor", self._model.get_input_embeddings().weight.detach())
        self.text_mean = self._table.mean(0)
        self.chat = Chat(self._processor, self._model.config)
        # Without one, no picture is made smaller.
        self.cell = self.chat.family.cell or 1
        self._ends = frozenset(self._model.generation_config.eos_token_id)
        # The same few questions are read, and prompts of the same shape made, under every method and ratio.
        self._states = lru_cache(maxsize=_REMEMBERED)(self._read_alone)
        self._states_mean = lru_cache(maxsize=None)(self._mean_state)
        self._positions = lru_cache(maxsize=_REMEMBERED)(_positions)

    @torch.no_grad()
    def see(
        self, pictures: Sequence[Image.Image], stages: Sequence[StageOrder] = (), taps: Set[Tap] = NO_TAPS
    ) -> list[Seen]:
        """Encode pictures of one size, whose sides are whole visual tokens.

        Args:
            stages: those that drop tokens in the encoder. taps: what to bring beside the rows, which are the same
                whatever is brought.

        Raises:
            ValueError: a side is not.
        """
        pixels = torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures])).permute(0, 3, 1, 2)
        if pixels.shape[2] % self.cell or pixels.shape[3] % self.cell:
            raise ValueError(f"the sides of a picture must be multiples of {self.cell}, got {tuple(pixels.shape[2:])}")
        grid = pixels.shape[2] // self.cell, pixels.shape[3] // self.cell
        attention: list[Tensor] | None = [] if "attention" in taps else None
        cut = next(((stage.block, stage.budget) for stage in stages if stage.block is not None), None)
        skips = any(stage.where == "entry" for stage in stages)
        units: list[Tensor] | None = [] if "merger_input" in taps else None
        rows = encode(self._model.model.visual, pixels, attention, cut, skip_repeats=skips, merger_input=units)
        heard, behind = (found[0] if found else [None] * len(rows) for found in (attention, units))
        return [Seen(image, grid, *brought) for image, *brought in zip(rows, heard, behind, strict=True)]

    def embed(self, ids: Sequence[int]) -> Tensor | None:
        """(T, D) embeddings of token ids; None for none."""
        return self._table[torch.tensor(ids)] if ids else None

    def states(self, ids: Sequence[int], depth: float) -> Tensor | None:
        """(T, D) states of token ids, read alone by a share of the layers as a worker reads them; None for none."""
        return (
            self._states(tuple(ids), layers_read(depth, len(self._model.model.language_model.layers))) if ids else None
        )

    def asked(self, ids: Sequence[int]) -> dict[str, Tensor | None]:
        """A question as `focus_context` hears it, by the names of `ImageTokens`."""
        read = self.states(ids, USUAL_DEPTH)
        return {"query": self.embed(ids), "states": None if read is None else read - self.states_mean(USUAL_DEPTH)}

    def states_mean(self, depth: float) -> Tensor:
        """(D,) mean state of the captions' words."""
        return self._states_mean(depth)

    def _mean_state(self, depth: float) -> Tensor:
        spoken = [self._processor.tokenizer.encode(text, add_special_tokens=False) for text in CAPTIONS]
        return torch.cat([cast("Tensor", self.states(ids, depth)) for ids in spoken]).mean(0)

    @torch.no_grad()
    def _read_alone(self, ids: tuple[int, ...], layers: int) -> Tensor:
        lead = self.chat.family.lead
        embedded = self._table[torch.tensor((*lead, *ids))].unsqueeze(0)
        length = embedded.shape[1]
        positions = torch.arange(length).expand(3, 1, length)
        mask = torch.ones(1, 1, length, length, dtype=torch.bool).tril()
        states = decode(self._model.model.language_model, embedded, positions, mask, layers=layers)
        return states[-1][0, len(lead) :]

    def vocabulary(self) -> tuple[Tensor, list[str]]:
        """(M, D) embeddings of the tokens that are whole words or digits, and the words."""
        texts = [self._processor.tokenizer.decode([index]).strip() for index in range(len(self._processor.tokenizer))]
        known = [index for index, text in enumerate(texts) if text.isdigit() or (text.isalpha() and len(text) > 1)]
        return self._table[torch.tensor(known)], [texts[index] for index in known]

    @torch.no_grad()
    def read(self, text: str) -> tuple[list[str], list[Tensor]]:
        """What the words of a user's text become in the language model.

        Returns:
            The words, and per layer their states (T, D). The last layer's are normalised.
        """
        ids, (start, end) = self.chat.text(text)
        positions = torch.arange(len(ids)).expand(3, 1, -1)
        mask = torch.ones(1, 1, len(ids), len(ids), dtype=torch.bool).tril()
        states = decode(self._model.model.language_model, self._table[torch.tensor(ids)][None], positions, mask)
        words = [self._processor.tokenizer.decode([token]).strip() for token in ids[start:end]]
        return words, [layer[0, start:end] for layer in states]

    def prompt(
        self,
        question: str,
        pictures: Sequence[Seen],
        kept: Sequence[Tensor | None],
        before: Sequence[Turn] = (),
        *,
        frames: int = 1,
        renumbered: bool = False,
    ) -> Prompt:
        """The chat prompt of a question about pictures.

        Args:
            kept: per picture, indices of the rows that stay; None keeps all. before: earlier turns of the chat.
            frames: of each picture, which is a video where there are several, one below the other in its grid.
            renumbered: positions are counted anew over what stays.
        """
        parts, stays, spans, length = [], [], [], 0
        places: list[slice] = []
        left = iter(zip(pictures, kept, strict=True))
        ids = self.chat.ids(question, len(pictures), before)
        for of_a_picture, run in groupby(ids, lambda token: token == self.chat.family.image_token):
            if not of_a_picture:
                text = torch.tensor([*run])
                parts.append(self._table[text])
                stays.append(torch.arange(length, length + len(text)))
                length += len(text)
                continue
            for picture, indices in islice(left, len([*run])):
                shown = torch.arange(len(picture.rows)) if indices is None else indices
                spans.append(MediaSpan(length, len(picture.rows), self._shape(picture.grid, frames)))
                start = sum(map(len, parts))
                places.append(slice(start, start + len(shown)))
                parts.append(picture.rows[shown])
                stays.append(length + shown)
                length += len(picture.rows)
        positions = self._positions(length, tuple(spans))
        stay = torch.cat(stays)
        placed = torch.arange(len(stay)).expand(3, -1) if renumbered else positions[:, stay]
        return Prompt(torch.cat(parts), placed, tuple(places))

    def _shape(self, grid: Grid, frames: int) -> tuple[int, int, int]:
        """How the positions of a picture's tokens lie."""
        return frames, grid[0] // frames, grid[1]

    def looked_at(self, prompt: Prompt, layer: int) -> list[Tensor]:
        """Attention that each picture's tokens get in one layer, counted from 1, from those behind the pictures."""
        last = max(place.stop for place in prompt.pictures)
        mass = looked_at(self._model.model.language_model, prompt.embedded, prompt.positions, layer, last)
        return [mass[place] for place in prompt.pictures]

    @torch.no_grad()
    def answer(self, prompts: Sequence[Prompt], most: int) -> list[str]:
        """Greedy answers. Shorter prompts are padded in front, so prompts of like length are best asked together.

        Args:
            most: tokens of the longest answer.
        """
        longest = max(len(prompt.embedded) for prompt in prompts)
        missing = [longest - len(prompt.embedded) for prompt in prompts]
        embedded = torch.stack([pad(p.embedded, (0, 0, gap, 0)) for p, gap in zip(prompts, missing, strict=True)])
        positions = torch.stack([pad(p.positions, (gap, 0)) for p, gap in zip(prompts, missing, strict=True)], dim=1)
        real = torch.arange(longest) >= torch.tensor(missing).unsqueeze(1)
        order = torch.ones(longest, longest, dtype=torch.bool).tril()
        # Padding looks at itself, for a token that may look at nothing has no softmax.
        mask = (order & real.unsqueeze(1)) | torch.eye(longest, dtype=torch.bool)
        place = positions.amax((0, 2))
        cache = Cache()
        written: list[list[int]] = [[] for _ in prompts]
        open_ones = torch.ones(len(prompts), dtype=torch.bool)
        for _ in range(most):
            states = decode(
                self._model.model.language_model, embedded, positions, mask.unsqueeze(1), cache, last_alone=True
            )
            chosen = self._model.lm_head(states[-1][:, -1]).argmax(-1)
            for index, token in enumerate(chosen.tolist()):
                if open_ones[index] and token not in self._ends:
                    written[index].append(token)
            open_ones &= torch.tensor([token not in self._ends for token in chosen.tolist()])
            if not open_ones.any():
                break
            place = place + 1
            embedded, positions = self._table[chosen].unsqueeze(1), place.expand(3, -1).unsqueeze(-1)
            mask = torch.cat((mask[:, -1:], torch.ones(len(prompts), 1, 1, dtype=torch.bool)), dim=2)
        return [self._processor.tokenizer.decode(tokens, skip_special_tokens=True).strip() for tokens in written]


def _positions(length: int, spans: tuple[MediaSpan, ...]) -> Tensor:
    """(3, length) of a whole prompt with these pictures; shared, so do not write to it."""
    return initial_positions(length, spans)[0]
