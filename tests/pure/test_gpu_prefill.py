"""The GPU script on a CPU: whole, with a small shape, and its encoder beside transformers' own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sppruner_vllm.evaluation.encoder_flops import QWEN2_5_VL_ENCODER, encoder_flops
from sppruner_vllm.evaluation.gpu_prefill.bench import Bench
from sppruner_vllm.evaluation.gpu_prefill.cut import Behind
from sppruner_vllm.evaluation.gpu_prefill.measure import measure
from sppruner_vllm.evaluation.gpu_prefill.model import Model, positions
from sppruner_vllm.evaluation.gpu_prefill.shapes import AFTER, BEFORE, SHAPES
from sppruner_vllm.reduction.survivors import Survivors

CPU = torch.device("cpu")


def test_its_encoder_gives_the_rows_of_transformers_own():
    model = Model(SHAPES["tiny"], CPU, torch.float32)
    pixels = torch.randn(2, 8 * 8 * 4, 3 * 2 * 14**2, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        mine = model.encode(pixels, 8)
        grids = torch.tensor([[1, 16, 16]] * 2)
        theirs = model.tower(pixels.flatten(0, 1), grid_thw=grids).pooler_output.view(2, 64, -1)
    torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4)


def test_a_cut_that_drops_nothing_changes_nothing():
    model = Model(SHAPES["tiny"], CPU, torch.float32)
    pixels = torch.randn(2, 8 * 8 * 4, 3 * 2 * 14**2, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(model.encode(pixels, 8, 64, 0), model.encode(pixels, 8), atol=1e-5, rtol=1e-4)


def test_survivors_see_those_of_their_own_window():
    """Two windows of four tokens, of four patches each, of which three and one are left."""
    kept = torch.tensor([0, 2, 3, 5])
    rest = torch.tensor([1, 4, 6, 7])
    left = Survivors(kept, rest, torch.zeros(4, 1, dtype=torch.int64), torch.ones(4, 1))
    behind = Behind(left, torch.zeros(8, 4 * 6), (1, 32, 6))
    parts = torch.randn(3, 1, 16, 2, 3, generator=torch.Generator().manual_seed(3))
    seen = behind.in_windows(parts.unbind(), 4)[0]
    for window in (slice(0, 12), slice(12, 16)):
        query, key, value = parts[:, 0, window].transpose(1, 2)
        expected = (query @ key.transpose(1, 2) / 3**0.5).softmax(-1) @ value
        torch.testing.assert_close(seen[window].transpose(0, 1), expected)


def test_a_picture_with_a_cut_is_the_same_in_company():
    """And the cut is felt."""
    model = Model(SHAPES["tiny"], CPU, torch.float32)
    pixels = torch.randn(2, 8 * 8 * 4, 3 * 2 * 14**2, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        both = model.encode(pixels, 8, 20, 0)
        alone = torch.cat([model.encode(one[None], 8, 20, 0) for one in pixels])
        whole = model.encode(pixels, 8)
    torch.testing.assert_close(both, alone, atol=1e-5, rtol=1e-4)
    assert (both - whole).abs().max() > 1e-3 * whole.abs().max()


def test_a_cut_spares_the_share_of_the_blocks_behind_it():
    shape = SHAPES["3B"]
    assert shape.encoder_operations(1296, 1296, 7) == encoder_flops(QWEN2_5_VL_ENCODER, 1296, 2048)
    whole, half, early = (shape.encoder_operations(1296, left, at) for left, at in ((1296, 7), (576, 7), (576, 3)))
    assert early < half < whole
    assert 0.5 < half / whole < 0.75


def test_kept_tokens_keep_the_positions_of_the_unreduced_prompt():
    whole = positions(torch.arange(64).expand(1, -1), 8)
    some = torch.tensor([[0, 9, 40, 63]])
    reduced = positions(some, 8)
    assert torch.equal(reduced[:, :, BEFORE : BEFORE + 4], whole[:, :, BEFORE + some[0]])
    assert torch.equal(reduced[:, :, -AFTER:], whole[:, :, -AFTER:])
    assert whole[0, 0, -AFTER] == whole[:, :, :-AFTER].max() + 1


def test_one_call_measures_a_small_shape_without_an_engine(tmp_path: Path):
    out = tmp_path / "bench.json"
    call = [
        "--shapes",
        "tiny",
        "--tokens",
        "64",
        "144",
        "--images",
        "1",
        "3",
        "--rounds",
        "2",
        "--step",
        "128",
        "--cut-block",
        "0",
    ]
    program = (
        "import runpy, sys; sys.argv[0] = 'gpu_prefill'\n"
        "runpy.run_module('sppruner_vllm.evaluation.gpu_prefill', run_name='__main__')\n"
        "assert not {'vllm', 'pydantic'} & set(sys.modules), 'an engine came along'"
    )
    subprocess.run([sys.executable, "-c", program, *call, "--out", str(out)], check=True, cwd=tmp_path)
    found = json.loads(out.read_text())
    assert found["skipped"] == []
    expected = {64: {1.0: 64, 0.333: 22, 0.222: 15, 0.111: 8}, 144: {1.0: 144, 0.333: 48, 0.222: 32, 0.111: 16}}
    runs = [
        tuple(run[name] for name in ("tokens", "images", "keep_ratio", "kept", "survivors")) for run in found["prefill"]
    ]
    assert len(runs) == len(set(runs))
    assert set(runs) == {
        (tokens, images, ratio, kept, survivors)
        for images in (1, 3)
        for tokens, budgets in expected.items()
        for ratio, kept in budgets.items()
        for survivors in ({None} if ratio == 1 else {None, 2 * kept})
    }
    for run in found["prefill"]:
        assert len(run["seconds"]) == len(run["ideal"]) == 2
        assert 0 < run["min"] <= run["median"] <= run["max"]
    assert [run["images"] for run in found["selection"]] == [1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1]


def test_what_does_not_fit_is_named_and_the_rest_measured(monkeypatch: pytest.MonkeyPatch):
    whole = Bench.whole

    def of_little_memory(self: Bench, kept: int | None, survivors: int | None = None) -> float:
        if self.work.images > 1:
            raise torch.OutOfMemoryError("too much")
        return whole(self, kept, survivors)

    monkeypatch.setattr(Bench, "whole", of_little_memory)
    found = measure(
        *(["tiny"], [64], [1, 2], [0.5]),
        rounds=1,
        step=128,
        cut_block=0,
        cut_survivors=2.0,
        device=CPU,
        dtype=torch.float32,
    )
    assert [(run["images"], run["kept"]) for run in found["prefill"]] == [(1, 64), (1, 32)]
    assert [(run["images"], run["reason"]) for run in found["skipped"]] == [(2, "out of memory")]
