"""What a reduced prompt should give, computed by Hugging Face transformers in float32.

The unreduced prompt is laid out by transformers itself: its embeddings and its positions. Dropped visual tokens are
then cut out of both, and the language model runs on the rest. Nothing of ours takes part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoProcessor

from beds.files import twin_of
from cases import Case


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt before any token is dropped.

    embeddings: (1, N, D). positions: (..., N), three rows or one. next_position: of the token after it.
    keep: (N,) bool. planes: (N, D) each, what DeepStack adds behind each of the first layers; zero where there is text.
    """

    embeddings: Tensor
    positions: Tensor
    next_position: int
    keep: Tensor
    planes: tuple[Tensor, ...] = ()

    def deepstack(self, tokens: Tensor) -> dict[str, Any]:
        """What transformers' language model is given for some of the tokens, (N,) bool."""
        if not self.planes:
            return {}
        everywhere = torch.ones(1, int(tokens.sum()), dtype=torch.bool)
        return {"visual_pos_masks": everywhere, "deepstack_visual_embeds": [plane[tokens] for plane in self.planes]}


class Reference:
    """A tiny model under transformers: one with 3-D positions (Qwen-VL) or with 1-D positions (LLaVA)."""

    def __init__(self, model: Path) -> None:
        twin = twin_of(model)
        self.processor = AutoProcessor.from_pretrained(twin)
        if twin != model:
            # By Pillow, as vLLM makes pictures smaller whose checkpoints bring no processor.
            self.processor.image_processor = AutoImageProcessor.from_pretrained(twin, backend="pil")
        self.model = AutoModelForImageTextToText.from_pretrained(
            twin, dtype=torch.float32, attn_implementation="eager"
        ).eval()

    def encoder_inputs(self, pictures: list[Any]) -> dict[str, Any]:
        """Pictures as vLLM sends them to its encoder, which normalizes them itself."""
        return dict(self.processor.image_processor(pictures, return_tensors="pt", do_rescale=False, do_normalize=False))

    @torch.inference_mode()
    def answer(self, case: Case, kept: list[list[int]] | None, tokens: int) -> tuple[list[int], Tensor]:
        """Greedy continuation.

        Args:
            kept: raster indices of the visual tokens each image keeps; None keeps all.
            tokens: how many to generate.

        Returns:
            The tokens, and the (tokens, V) float32 logits they were taken from.
        """
        prompt = self.prompt(case, kept)
        embeddings, positions = prompt.embeddings[:, prompt.keep], prompt.positions[..., prompt.keep]
        generated: list[int] = []
        logits: list[Tensor] = []
        cache = None
        seen = 0
        deepstack = prompt.deepstack(prompt.keep)
        for step in range(tokens):
            seen += embeddings.shape[1]
            # A mask of ones hides nothing; without one transformers takes a gap in 1-D positions for a new sequence.
            output = self.model.model.language_model(
                inputs_embeds=embeddings,
                position_ids=positions,
                attention_mask=torch.ones(1, seen, dtype=torch.int64),
                past_key_values=cache,
                use_cache=True,
                **deepstack,
            )
            deepstack = {}
            cache = output.past_key_values
            logits.append(self.model.lm_head(output.last_hidden_state[0, -1]))
            generated.append(int(logits[-1].argmax()))
            embeddings = self.model.get_input_embeddings()(torch.tensor([[generated[-1]]]))
            positions = torch.full((*positions.shape[:-1], 1), prompt.next_position + step)
        return generated, torch.stack(logits)

    @torch.inference_mode()
    def logits(self, prompt: Prompt, positions: Tensor) -> Tensor:
        """Of the first token, (V,), with the kept tokens of a prompt at other positions, (..., N)."""
        hidden = self.model.model.language_model(
            inputs_embeds=prompt.embeddings[:, prompt.keep],
            position_ids=positions[..., prompt.keep],
            attention_mask=torch.ones(1, int(prompt.keep.sum()), dtype=torch.int64),
            **prompt.deepstack(prompt.keep),
        ).last_hidden_state
        return self.model.lm_head(hidden[0, -1])

    @torch.inference_mode()
    def prompt(self, case: Case, kept: list[list[int]] | None) -> Prompt:
        """The unreduced prompt of a conversation, and which of its tokens stay; `kept` as for `answer`."""
        inputs = self._inputs(case)
        ids = inputs["input_ids"]
        embeddings = self.model.get_input_embeddings()(ids)
        keep = torch.ones(ids.shape[1], dtype=torch.bool)
        planes: tuple[Tensor, ...] = ()
        if "pixel_values" in inputs:
            features = self._features(inputs)
            places = (ids[0] == self.model.config.image_token_id).nonzero().flatten()
            own, *deeper = torch.cat(list(features)).split(embeddings.shape[-1], dim=1)
            embeddings[0, places] = own
            planes = tuple(torch.zeros_like(embeddings[0]).index_copy_(0, places, plane) for plane in deeper)
            if kept is not None:
                keep[places] = False
                for image_places, chosen in zip(places.split([len(image) for image in features]), kept, strict=True):
                    keep[image_places[torch.tensor(chosen)]] = True
        return Prompt(embeddings, *self._positions(inputs), keep, planes)

    def _inputs(self, case: Case) -> Any:
        """What the processor makes of a conversation; as in vLLM's chat, only the template adds special tokens."""
        text = self.processor.apply_chat_template(_plain(case), add_generation_prompt=True, tokenize=False)
        return self.processor(
            text=[text], images=case.images() or None, return_tensors="pt", text_kwargs={"add_special_tokens": False}
        )

    def _features(self, inputs: Any) -> list[Tensor]:
        """The encoder's rows, (N, D) of each image; with DeepStack its levels stand behind each row, as in vLLM."""
        sizes = {name: inputs[name] for name in ("image_grid_thw", "image_sizes") if name in inputs}
        found = self.model.model.get_image_features(inputs["pixel_values"], **sizes)
        levels = getattr(found, "deepstack_features", None) or ()
        if isinstance(found.pooler_output, Tensor):
            # Of tiles, which the prompt alone says whose they are.
            rows: list[Tensor] = list(found.pooler_output.flatten(0, 1).split(self._runs(inputs["input_ids"][0])))
            return rows
        return [torch.cat(parts, dim=1) for parts in zip(found.pooler_output, *levels, strict=True)]

    def _runs(self, ids: Tensor) -> list[int]:
        """How many placeholders stand side by side, of each image."""
        image = (ids == self.model.config.image_token_id).int()
        edges = torch.cat((image.new_zeros(1), image, image.new_zeros(1))).diff()
        return ((edges == -1).nonzero() - (edges == 1).nonzero()).flatten().tolist()

    def _positions(self, inputs: Any) -> tuple[Tensor, int]:
        """Of the unreduced prompt, (..., N), and the position of the token after it."""
        length = inputs["input_ids"].shape[1]
        if not hasattr(self.model.model, "get_rope_index"):
            return torch.arange(length)[None], length
        positions, delta = self.model.model.get_rope_index(
            inputs["input_ids"], inputs["mm_token_type_ids"], image_grid_thw=inputs.get("image_grid_thw")
        )
        return positions, length + int(delta)


def _plain(case: Case) -> list[dict[str, object]]:
    """Messages in the form that transformers' chat template takes."""
    return [
        message
        if isinstance(message["content"], str)
        else {
            **message,
            "content": [{"type": "image"} if part["type"] != "text" else part for part in message["content"]],
        }
        for message in case.messages()
    ]


class OnRows(Reference):
    """Transformers' language model behind the rows that a worker had."""

    def __init__(self, checkpoint: Path) -> None:
        super().__init__(checkpoint)
        self.rows: list[Tensor] = []

    def _features(self, inputs: Any) -> list[Tensor]:
        return self.rows


def last_attention(reference: Reference, modeling: Any, pictures: Sequence[Image.Image]) -> tuple[list[Tensor], Tensor]:
    """The weights of the tower's last block as transformers' eager attention computes them.

    Args:
        modeling: transformers' module of the model, whose eager attention is listened to.

    Returns:
        Of each picture (1, heads, P, P), and the grids of all, (pictures, 3), in patches.
    """
    weights: list[Tensor] = []
    eager = modeling.eager_attention_forward

    def recording(*args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        result: tuple[Tensor, Tensor] = eager(*args, **kwargs)
        weights.append(result[1])
        return result

    inputs = reference.processor.image_processor(pictures, return_tensors="pt")
    with pytest.MonkeyPatch.context() as patch, torch.inference_mode():
        patch.setattr(modeling, "eager_attention_forward", recording)
        reference.model.model.visual(inputs["pixel_values"], grid_thw=inputs["image_grid_thw"])
    return weights[-len(pictures) :], inputs["image_grid_thw"]
