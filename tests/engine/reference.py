"""What a reduced prompt should give, computed by Hugging Face transformers in float32.

The unreduced prompt is laid out by transformers itself: its embeddings and its positions. Dropped visual tokens are
then cut out of both, and the language model runs on the rest. Nothing of ours takes part.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration

from cases import Case


class Reference:
    """The tiny model under transformers."""

    def __init__(self, model: Path) -> None:
        self.processor = AutoProcessor.from_pretrained(model)
        self.model = Qwen2_5_VLForConditionalGeneration.from_pretrained(
            model, dtype=torch.float32, attn_implementation="eager"
        ).eval()

    @torch.inference_mode()
    def answer(self, case: Case, kept: list[list[int]] | None, tokens: int) -> tuple[list[int], Tensor]:
        """Greedy continuation.

        Args:
            kept: raster indices of the visual tokens each image keeps; None keeps all.
            tokens: how many to generate.

        Returns:
            The tokens, and the (tokens, V) float32 logits they were taken from.
        """
        text = self.processor.apply_chat_template(_plain(case), add_generation_prompt=True, tokenize=False)
        inputs = self.processor(text=[text], images=case.images() or None, return_tensors="pt")
        ids = inputs["input_ids"]
        embeddings = self.model.get_input_embeddings()(ids)
        keep = torch.ones(ids.shape[1], dtype=torch.bool)
        if "pixel_values" in inputs:
            features = self.model.model.get_image_features(
                inputs["pixel_values"], inputs["image_grid_thw"]
            ).pooler_output
            places = (ids[0] == self.model.config.image_token_id).nonzero().flatten()
            embeddings[0, places] = torch.cat(list(features))
            if kept is not None:
                keep[places] = False
                for own, chosen in zip(places.split([len(image) for image in features]), kept, strict=True):
                    keep[own[torch.tensor(chosen)]] = True
        positions, delta = self.model.model.get_rope_index(
            ids, inputs["mm_token_type_ids"], image_grid_thw=inputs.get("image_grid_thw")
        )
        embeddings, positions = embeddings[:, keep], positions[:, :, keep]
        position = ids.shape[1] + int(delta)

        generated: list[int] = []
        logits: list[Tensor] = []
        for _ in range(tokens):
            hidden = self.model.model.language_model(inputs_embeds=embeddings, position_ids=positions).last_hidden_state
            logits.append(self.model.lm_head(hidden[0, -1]))
            generated.append(int(logits[-1].argmax()))
            step = self.model.get_input_embeddings()(torch.tensor([[generated[-1]]]))
            embeddings = torch.cat([embeddings, step], dim=1)
            positions = torch.cat([positions, torch.full((3, 1, 1), position)], dim=2)
            position += 1
        return generated, torch.stack(logits)


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
