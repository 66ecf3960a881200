"""Qwen2.5-VL's tower as the worker runs it, asked about a test module's PICTURES outside any request.

The fixtures `inputs`, `grids` and `whole` of conftest.py are of those pictures.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cases import Case
from reference import Reference
from sppruner_vllm.wire import StageOrder

EVERYTHING = frozenset({"attention", "merger_input"})
NOTHING = frozenset[str]()

BEHIND = 1
"""The block of the tiny tower's four behind which the tests cut; the last of them looks at the whole picture."""

RATIO = 0.222
QUESTION = "what is the colour of the small cat"


def cut(most: int) -> StageOrder:
    return StageOrder("encoder", "unlike", most, BEHIND)


@torch.inference_mode()
def parts_of(
    model: Any,
    inputs: dict[str, Any],
    stages: Iterable[Sequence[StageOrder]],
    wanted: frozenset[str] = NOTHING,
    budget: int | None = None,
) -> list[Any]:
    """What the tower makes of the pictures, micro-batch by micro-batch.

    stages: of each picture. wanted: what is heard of each. budget: tokens of a micro-batch, None for a single one.
    """
    each = [list(some) for some in stages]
    return list(model._encoder.run(dict(inputs), [wanted] * len(each), budget, each))


def alone(inputs: dict[str, Any], index: int) -> dict[str, Any]:
    """One of the pictures."""
    patches = inputs["image_grid_thw"].prod(1).tolist()
    return {
        "pixel_values": inputs["pixel_values"].split(patches)[index],
        "image_grid_thw": inputs["image_grid_thw"][index : index + 1],
    }


def upstream_of(model: Any) -> Any:
    """vLLM's own class of the model."""
    return next(cls for cls in type(model).__mro__ if cls.__module__.startswith("vllm."))


def far(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm())


class StagedReference(Reference):
    """Transformers behind the rows of a tower with stages, for questions of one picture."""

    def __init__(self, checkpoint: Path, model: Any, *stages: StageOrder) -> None:
        super().__init__(checkpoint)
        self._encoder, self._stages = model, stages

    def _inputs(self, case: Case) -> Any:
        self._raw = self.encoder_inputs(case.images())
        return super()._inputs(case)

    def _features(self, inputs: Any) -> list[Tensor]:
        (part,) = parts_of(self._encoder, self._raw, [self._stages])
        return [part.rows[0].clone()]
