"""How pictures are tiled, against transformers' own code for it, over sizes of every shape."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    CLIPVisionConfig,
    InternVLConfig,
    InternVLVisionConfig,
    LlavaNextConfig,
    LlavaOnevisionConfig,
    SiglipVisionConfig,
)
from transformers.image_utils import SizeDict
from transformers.models.got_ocr2.image_processing_got_ocr2 import GotOcr2ImageProcessor, get_optimal_tiled_canvas
from transformers.models.llava_next.modeling_llava_next import LlavaNextModel
from transformers.models.llava_onevision.modeling_llava_onevision import LlavaOnevisionModel
from vllm.multimodal.inputs import PlaceholderRange

from sppruner_vllm.families.internvl import InternVL, Mosaic
from sppruner_vllm.families.llava_next import LlavaNext
from sppruner_vllm.families.llava_onevision import LlavaOnevision
from sppruner_vllm.family import MediaSpan

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


INTERN = InternVL(
    InternVLConfig(vision_config=InternVLVisionConfig(image_size=[56, 56], patch_size=[14, 14]), image_token_id=9)
)


@pytest.mark.parametrize("size", SIZES)
def test_tiles_of_an_internvl_lie_as_transformers_cuts_them(size: tuple[int, int]) -> None:
    """By a picture in which each token has its own colour."""
    across, down = get_optimal_tiled_canvas(size, (56, 56), 1, 12)
    mosaic, *thumbnail = INTERN._pieces(Mosaic(down, across, thumbnail=down * across > 1))
    assert [piece.start for piece in thumbnail] == ([4 * down * across] if down * across > 1 else [])
    colours = torch.arange(4.0 * down * across).view(2 * down, 2 * across)
    picture = colours.repeat_interleave(28, 0).repeat_interleave(28, 1).expand(1, 3, -1, -1)
    tile = SizeDict(height=56, width=56)
    (tiles,) = GotOcr2ImageProcessor().crop_image_to_patches(picture, down * across, down * across, patch_size=tile)
    rows = tiles[:, 0].unfold(1, 28, 28).unfold(2, 28, 28).mean((3, 4)).flatten()
    assert torch.equal(rows[mosaic.row(torch.arange(mosaic.tokens))], colours.flatten())


def test_the_inputs_of_an_internvl_are_cut_by_its_tiles() -> None:
    given = {
        "pixel_values": torch.zeros(8, 3, 56, 56),
        "image_num_patches": torch.tensor([7, 1]),
        "sppruner_tiles": torch.tensor([(2, 3), (1, 1)]),
    }
    assert INTERN.rows_of_inputs(given) == {"image_token_id": None, "pixel_values": [7, 1]}
    assert INTERN.grids(given) == [(1, 28), (1, 4)]
    assert [layout.in_tower for layout in INTERN.layouts(given) if layout is not None] == [28, 4]
    assert INTERN.misfit(given) is None
    other = {"pixel_values": torch.zeros(2, 3, 28, 28)}
    assert INTERN.misfit(other) == "tiles and frames must be brought to 56 x 56 pixels"


def test_marks_around_the_rows_of_a_picture_are_no_rows_of_it() -> None:
    def feature(modality: str, embedded: str) -> Any:
        place = PlaceholderRange(5, len(embedded), torch.tensor([mark == "x" for mark in embedded]))
        return SimpleNamespace(data={}, modality=modality, mm_position=place)

    assert INTERN.spans(None, [feature("image", "-xxxx-")]) == [MediaSpan(6, 4, (4, 1, 1))]
    frames = INTERN.spans(None, [feature("video", "--xxxx----xxxx-")])
    assert frames == [MediaSpan(7, 4, (4, 1, 1)), MediaSpan(15, 4, (4, 1, 1))]


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
