"""Encodes two pictures on two tensor-parallel ranks, as each switch has it, and writes what each rank saw, as JSON."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

ENVIRONMENT = {
    "VLLM_ALLOW_INSECURE_SERIALIZATION": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "TORCHDYNAMO_DISABLE": "1",  # for AVX2 alone, as in test_family_tensor_parallel.py
}
"""What the program is to be started with."""


def lengths(rows: Any) -> list[float]:
    """How far each row is from the mean of its picture, which is what tells rows apart."""
    return list((rows - rows.mean(0)).norm(dim=1).tolist())


def listen(model: Any) -> dict[str, Any]:
    import torch

    from sppruner_vllm.wire import StageOrder

    grids, dice = [(6, 4), (3, 8)], torch.Generator().manual_seed(0)
    brightness = 2 * torch.randn(4 * 48, 1, generator=dice)
    inputs = {
        "pixel_values": brightness + torch.rand(4 * 48, 3 * 2 * 14 * 14, generator=dice),
        "image_grid_thw": torch.tensor([[1, 2 * height, 2 * width] for height, width in grids]),
    }
    with torch.inference_mode():
        (plain,) = model._encoder.run(dict(inputs), [frozenset()] * 2, None)
        (heard,) = model._encoder.run(dict(inputs), [frozenset({"attention", "merger_input"})] * 2, None)
    # The first eight tokens of the first picture, two rows of its grid, become one and the same.
    inputs["pixel_values"][:32] = inputs["pixel_values"][:4].repeat(8, 1)
    skip, cut = StageOrder("entry", "repeats", 24), StageOrder("encoder", "unlike", 12, 1)
    fewer = {}
    for name, stages in (("skipped", [skip]), ("cut", [cut]), ("both", [skip, cut])):
        with torch.inference_mode():
            (part,) = model._encoder.run(dict(inputs), [frozenset()] * 2, None, [stages] * 2)
        fewer[name] = [length for image in part.rows for length in lengths(image.float())]
    attention, merger_input = heard.tapped.attention, heard.tapped.merger_input
    return {
        "dtype": str(heard.rows[0].dtype),
        "identical": all(torch.equal(one, other) for one, other in zip(plain.rows, heard.rows, strict=True)),
        "attention": torch.cat(attention).tolist(),
        "merger_input": [length for image in merger_input for length in lengths(image.flatten(1).float())],
        **fewer,
    }


if __name__ == "__main__":
    from vllm import LLM

    llm = LLM(
        model=sys.argv[1],
        dtype=sys.argv[2],
        enforce_eager=True,
        max_model_len=1024,
        tensor_parallel_size=2,
        distributed_executor_backend="mp",
    )
    # By the name under which the ranks can import it, which "__main__" is not.
    Path(sys.argv[3]).write_text(json.dumps(llm.apply_model(importlib.import_module("taps_on_two_ranks").listen)))
