"""Listening to the vision tower changes nothing in it, and what is heard is in raster order."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cases import LANDSCAPE, PORTRAIT, SQUARE, STRIP, picture
from reference import Reference
from sppruner_vllm.planning.smaller import Grid
from sppruner_vllm.worker.taps import Tapped, Taps
from taps_on_two_ranks import ENVIRONMENT, listen
from towers import EVERYTHING, upstream_of

SIZES = (SQUARE, PORTRAIT, LANDSCAPE, STRIP)
PICTURES = [picture(size, 820 + seed) for seed, size in enumerate(SIZES)]


def listened(model: Any, inputs: dict[str, Any], grids: list[Grid]) -> tuple[Tensor, Tensor, Tapped]:
    """The rows of the tower without and with someone listening, and what was heard."""
    pixels, patches = inputs["pixel_values"], inputs["image_grid_thw"].tolist()
    with torch.inference_mode():
        plain = model.visual(pixels, grid_thw=patches).clone()
        with Taps(model.family.tap_points(model)).watching(grids, EVERYTHING) as tapped:
            heard = model.visual(pixels, grid_thw=patches).clone()
    return plain, heard, tapped


def test_a_tapped_tower_gives_upstreams_rows_bit_for_bit(model: Any, inputs: dict[str, Any], grids: list[Grid]) -> None:
    plain, heard, tapped = listened(model, inputs, grids)
    assert torch.equal(plain, heard)
    assert [len(mass) for mass in tapped.attention] == [height * width for height, width in grids]
    assert [len(rows) for rows in tapped.merger_input] == [height * width for height, width in grids]


def test_our_way_through_the_encoder_is_upstreams_own(model: Any, inputs: dict[str, Any], grids: list[Grid]) -> None:
    with torch.inference_mode():
        theirs = upstream_of(model).embed_multimodal(model, **inputs)
        for wanted in (frozenset(), EVERYTHING):
            (part,) = model._encoder.run(dict(inputs), [wanted] * len(grids), None)
            assert all(torch.equal(one, other) for one, other in zip(theirs, part.rows, strict=True))


def test_the_mergers_input_is_each_tokens_patches_in_raster_order(
    model: Any, reference: Reference, inputs: dict[str, Any], grids: list[Grid]
) -> None:
    """Transformers' own, undone from its windows by what the merger makes of it: rows in raster order."""
    heard: list[Tensor] = []
    visual = reference.model.model.visual
    hook = visual.merger.ln_q.register_forward_pre_hook(lambda _, given: heard.append(given[0].clone()))
    theirs = reference.processor.image_processor(PICTURES, return_tensors="pt")
    with torch.inference_mode():
        rows = reference.model.model.get_image_features(**theirs).pooler_output
    hook.remove()
    with torch.inference_mode():
        _, _, tapped = listened(model, inputs, grids)
        for image, row in zip(tapped.merger_input, rows, strict=True):
            patches = image.view(-1, heard[0].shape[-1])
            assert torch.allclose(visual.merger(patches), row, rtol=1e-3, atol=1e-4)


@torch.inference_mode()
def test_nothing_is_computed_that_nobody_wants(model: Any, inputs: dict[str, Any], grids: list[Grid]) -> None:
    (part,) = model._encoder.run(dict(inputs), [frozenset()] * len(grids), None)
    assert part.tapped == Tapped()
    (part,) = model._encoder.run(dict(inputs), [frozenset({"merger_input"})] * len(grids), None)
    assert (len(part.tapped.attention), len(part.tapped.merger_input)) == (0, len(grids))


@torch.inference_mode()
def test_micro_batches_hear_the_same(model: Any, inputs: dict[str, Any], grids: list[Grid]) -> None:
    (whole,) = model._encoder.run(dict(inputs), [EVERYTHING] * len(grids), None)
    parts = list(model._encoder.run(dict(inputs), [EVERYTHING] * len(grids), 170))
    assert len(parts) > 1
    pieces = [rows for part in parts for rows in part.tapped.merger_input]
    for one, other in zip(whole.tapped.merger_input, pieces, strict=True):
        assert torch.allclose(one, other, atol=1e-4)


def test_two_ranks_in_bfloat16_hear_what_one_hears_in_float32(model: Any, tiny_model: Path, tmp_path: Path) -> None:
    program, heard = Path(__file__).parent / "taps_on_two_ranks.py", tmp_path / "heard.json"
    command = [sys.executable, str(program), str(tiny_model), "bfloat16", str(heard)]
    done = subprocess.run(command, env=os.environ | ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    ranks = json.loads(heard.read_text())
    assert [(rank["dtype"], rank["identical"]) for rank in ranks] == [("torch.bfloat16", True)] * 2
    alone = listen(model)
    assert alone["dtype"] == "torch.float32"
    for name in ("attention", "merger_input", "skipped", "cut", "both"):
        assert ranks[0][name] == ranks[1][name]
        both = torch.tensor([ranks[0][name], alone[name]])
        assert torch.corrcoef(both)[0, 1] > 0.95
        assert both.std(dim=1).min() > 0.05 * both.mean(), "else this says nothing"
