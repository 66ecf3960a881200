"""How pictures are tiled, against transformers' own code for it, over sizes of every shape."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import CLIPVisionConfig, LlavaNextConfig, LlavaOnevisionConfig, SiglipVisionConfig
from transformers.models.llava_next.modeling_llava_next import LlavaNextModel
from transformers.models.llava_onevision.modeling_llava_onevision import LlavaOnevisionModel

from sppruner_vllm.families.llava_next import LlavaNext
from sppruner_vllm.families.llava_onevision import LlavaOnevision

CONFIG = LlavaNextConfig(
    vision_config=CLIPVisionConfig(image_size=56, patch_size=14),
    image_grid_pinpoints=[[56, 112], [112, 56], [112, 112], [168, 56], [56, 168]],
    image_token_index=9,
)
ONEVISION = LlavaOnevisionConfig(
    vision_config=SiglipVisionConfig(image_size=56, patch_size=14),
    image_grid_pinpoints=[[56 * down, 56 * across] for down in range(1, 7) for across in range(1, 7)],
)
SIZES = [(height, width) for height in (1, 13, 56, 77, 200, 999) for width in (1, 20, 57, 113, 301, 1000)]
SIDE = 4


def inputs(sizes: list[tuple[int, int]], tiles: int) -> dict[str, Any]:
    return {"pixel_values": torch.zeros(len(sizes), tiles, 3, 56, 56), "image_sizes": torch.tensor(sizes)}


def packed_next(tokens: Tensor, size: tuple[int, int]) -> Tensor:
    owner: Any = SimpleNamespace(config=CONFIG)
    ((packed,), _) = LlavaNextModel.pack_image_features(
        owner, [tokens], torch.tensor([size]), "default", torch.zeros(1)
    )
    return packed


def packed_onevision(tokens: Tensor, size: tuple[int, int]) -> Tensor:
    owner: Any = SimpleNamespace(config=ONEVISION)
    ((packed,), _) = LlavaOnevisionModel.pack_image_features(owner, [tokens], torch.tensor([size]), torch.zeros(1))
    return packed


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("family", "pack"), [(LlavaNext(CONFIG), packed_next), (LlavaOnevision(ONEVISION), packed_onevision)]
)
def test_rows_lie_as_transformers_packs_them(family: LlavaNext, pack: Any, size: tuple[int, int]) -> None:
    needed = 1 + math.prod(family.tiler.of(*size).tiles)
    tokens = torch.arange(1.0, needed * SIDE**2 + 1).view(needed, SIDE**2, 1)
    packed = pack(tokens, size)
    # Two more tiles are there for other pictures of its batch.
    given = inputs([size], needed + 2)
    ((layout,), (grid,)) = family.layouts(given), family.grids(given)
    assert layout is not None
    assert layout.in_tower == (needed + 2) * SIDE**2
    everything = torch.cat((tokens.flatten(0, 1), torch.full((2 * SIDE**2, 1), -1.0)))
    arranged = layout.arranged(everything[:, None])
    assert torch.allclose(arranged[:, 0], packed)
    assert grid == (1, len(packed))
    base, mosaic = layout.pieces
    assert base.tokens == SIDE**2
    assert layout.pieces == family.pieces(None, size[1], size[0], {})
    assert (arranged == 0)[:, 0, 0].nonzero().flatten().tolist() == [mosaic.end(line) for line in range(mosaic.ends)]


def test_some_of_these_mosaics_are_shrunk_and_some_are_not() -> None:
    family = LlavaOnevision(ONEVISION)
    assert len({family.tiler.of(*size).shrunk is None for size in SIZES}) == 2


def test_a_picture_with_too_few_tiles_is_no_fit() -> None:
    family = LlavaNext(CONFIG)
    assert family.misfit(inputs([(56, 112)], 3)) is None
    assert family.misfit(inputs([(56, 112)], 2)) == "a picture of 112 x 56 pixels must have 2 tiles beside its base"
    other = {"pixel_values": torch.zeros(1, 3, 3, 28, 28), "image_sizes": torch.tensor([(56, 112)])}
    assert family.misfit(other) == "tiles must be brought to 56 x 56 pixels"


def test_rows_that_come_encoded_are_a_line() -> None:
    family, given = LlavaNext(CONFIG), {"image_embeds": [torch.zeros(40, 8), torch.zeros(7, 8)]}
    assert family.grids(given) == [(1, 40), (1, 7)]
    assert family.layouts(given) == [None, None]
