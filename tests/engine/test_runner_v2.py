"""Runner V2's own pruner, driven on the CPU with our model's methods.

The runner itself needs Triton and is asked in tests/runner_v2. Its pruner class works on plain tensors, so it runs here
for real; what it reads from the runner (rope state, encoder cache, batch) is stood in for by the fewest attributes.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from vllm.config import ModelConfig
from vllm.multimodal.inputs import PlaceholderRange
from vllm.v1.worker.gpu.model_states import resolve_model_state_cls
from vllm.v1.worker.gpu.model_states.mm_pruning import MultiModalPruner, maybe_create_mm_pruner

from sppruner_vllm.worker.positions import COLUMNS, pack
from sppruner_vllm.worker.runner_v2 import ReducedRowsPlacer, ReducingModelState

IMAGE, VISION_START, VISION_END, TEXT = 5, 6, 7, 8
GRIDS = ((8, 4), (3, 9), (5, 5))
KEPT = ([0, 1, 13, 31], [2, 3, 20, 26], None)


class RopeState:
    """Positions on the 'device', as vLLM's RopeState keeps them: one row block per request."""

    def __init__(self, positions: Tensor) -> None:
        self.positions = positions.to(torch.int32)
        self.delta: int | None = None

    def read_prefill_positions(self, _: int, length: int) -> Tensor:
        return self.positions[:, :length]

    def update_prefill_positions(self, _: int, positions: Tensor, delta: int) -> None:
        self.positions[:, : positions.shape[1]].copy_(positions)
        self.delta = delta


def prompt(width: int) -> tuple[list[int], list[Any], list[Tensor]]:
    """Token ids, features and encoder rows of three images, the last one unreduced."""
    ids: list[int] = [TEXT] * 3
    features, rows = [], []
    for (height, columns), kept in zip(GRIDS, KEPT, strict=True):
        chosen = torch.arange(height * columns) if kept is None else torch.tensor(kept)
        plain = torch.randn(chosen.numel(), width)
        rows.append(plain if kept is None else pack(plain, chosen, columns))
        grid = SimpleNamespace(data=torch.tensor([1, 2 * height, 2 * columns]))
        ids.append(VISION_START)
        features.append(
            SimpleNamespace(
                modality="image",
                data={"image_grid_thw": grid},
                mm_position=PlaceholderRange(offset=len(ids), length=chosen.numel()),
            )
        )
        ids += [IMAGE] * chosen.numel() + [VISION_END, TEXT]
    return ids, features, rows


def expected() -> Tensor:
    columns, position = [torch.arange(3).expand(3, 3)], 3
    for (height, width), kept in zip(GRIDS, KEPT, strict=True):
        columns.append(torch.full((3, 1), position))
        cells = torch.arange(height * width) if kept is None else torch.tensor(kept)
        columns.append(torch.stack([torch.zeros_like(cells), cells // width, cells % width]) + position + 1)
        position += 1 + max(height, width)
        columns.append(torch.arange(position, position + 2).expand(3, 2))
        position += 2
    return torch.cat(columns, dim=1)


def test_runner_v2_would_create_its_pruner_for_our_model(model: Any) -> None:
    config = SimpleNamespace(multimodal_config=model.multimodal_config, get_inputs_embeds_size=lambda: 256)
    assert maybe_create_mm_pruner(config, model, object(), object()) is not None
    assert ModelConfig.get_inputs_embeds_size(model.model_config) == 256


@pytest.mark.parametrize("pruner_class", [MultiModalPruner, ReducedRowsPlacer])
@pytest.mark.parametrize("step", [100, 7, 3, 1])
def test_runner_v2_places_rows_where_runner_v1_does(
    model: Any, step: int, pruner_class: type[MultiModalPruner]
) -> None:
    ids, features, rows = prompt(256)
    positions, delta = model.get_mrope_input_positions(ids, features)
    rope = RopeState(positions.clone())
    cache = SimpleNamespace(mm_features={"request": features})
    pruner = pruner_class(model, rope, cache, 256)
    states = SimpleNamespace(all_token_ids=SimpleNamespace(gpu=torch.tensor([ids])))

    v1 = positions.clone()
    for start in range(0, len(ids), step):
        end = min(start + step, len(ids))
        window = [
            embeddings[max(start - f.mm_position.offset, 0) : end - f.mm_position.offset]
            for f, embeddings in zip(features, rows, strict=True)
            if f.mm_position.offset < end and f.mm_position.offset + f.mm_position.length > start
        ]
        batch = SimpleNamespace(
            idx_mapping_np=np.array([0]),
            prefill_len_np=np.array([len(ids)]),
            num_computed_prefill_tokens_np=np.array([start]),
            num_scheduled_tokens=np.array([end - start]),
            req_ids=["request"],
        )
        cleaned = pruner.recompute(window, batch, states)
        assert all(torch.equal(a, b[:, :256]) for a, b in zip(cleaned, window, strict=True))
        _, v1, v1_delta = model.recompute_mrope_positions(ids, window, v1, start)
        assert v1_delta == delta
    assert rope.delta == delta
    assert torch.equal(v1, expected())
    assert torch.equal(rope.positions.long(), expected())


def test_runner_v2_takes_the_state_our_model_names(model: Any) -> None:
    assert resolve_model_state_cls(None, model) is ReducingModelState


def test_a_step_without_reduced_rows_asks_for_no_positions(model: Any) -> None:
    ours = ReducedRowsPlacer(model, None, None, 256)
    rows = [torch.randn(4, 256), torch.randn(9, 256)]
    assert ours.recompute(rows, None, None) is rows


@pytest.mark.parametrize("width", [256 + COLUMNS - 1, 256 + COLUMNS + 1])
def test_rows_of_a_foreign_width_are_not_taken_for_ours(model: Any, width: int) -> None:
    positions = torch.arange(6).repeat(3, 1)
    rows = [torch.ones(2, width)]
    cleaned, placed, _ = model.recompute_mrope_positions([0] * 6, rows, positions, 0)
    assert placed is positions
    assert cleaned[0] is rows[0]


def test_runner_v2_strips_our_columns_for_a_drafter(model: Any) -> None:
    _, _, rows = prompt(256)
    stripped = MultiModalPruner(model, None, None, 256).strip(rows)
    assert [embeddings.shape[1] for embeddings in stripped] == [256] * 3
