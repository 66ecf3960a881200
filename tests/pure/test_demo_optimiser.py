"""The optimiser of the demo's training, and the number type it computes in."""

from __future__ import annotations

import pytest
import torch

from sppruner_vllm.demo.arithmetic import fast_dtype
from sppruner_vllm.demo.training.muon import Muon, orthogonal

SHAPES = [(24, 40), (40, 24), (16, 16)]


def matrices():
    generator = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def test_in_bfloat16_it_takes_the_steps_of_torchs_muon():
    ours, theirs = matrices(), matrices()
    one = Muon(ours, rate=0.01, weight_decay=0.02, dtype=torch.bfloat16)
    other = torch.optim.Muon(theirs, lr=0.01, weight_decay=0.02, adjust_lr_fn="match_rms_adamw")
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        for mine, its in zip(ours, theirs, strict=True):
            mine.grad = torch.randn(mine.shape, generator=generator)
            its.grad = mine.grad.clone()
        one.step()
        other.step()
    assert all(torch.equal(mine, its) for mine, its in zip(ours, theirs, strict=True))
    assert not any(torch.equal(mine, start) for mine, start in zip(ours, matrices(), strict=True))


def test_a_matrix_without_a_gradient_stays():
    (matrix, *_) = ours = matrices()
    Muon(ours, rate=0.01, weight_decay=0.02, dtype=torch.float32).step()
    assert torch.equal(matrix, matrices()[0])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_orthogonal_keeps_the_directions_and_evens_out_their_lengths(shape, dtype):
    generator = torch.Generator().manual_seed(2)
    shorter = min(shape)
    left, right = (torch.linalg.qr(torch.randn(side, shorter, generator=generator))[0] for side in shape)
    before = torch.linspace(0.2, 1.0, shorter)
    found = orthogonal(left * before @ right.T, dtype).float()
    lengths = left.T @ found @ right
    assert found.shape == shape
    assert lengths.diagonal().min() > 0.5
    assert lengths.diagonal().max() < 1.5
    assert (lengths - lengths.diagonal().diag()).abs().max() < 0.1


@pytest.mark.parametrize(
    ("processor", "used", "dtype"),
    [
        ({"architecture": "x86_64", "avx2": True}, "AVX2", torch.float32),
        ({"architecture": "x86_64", "avx512_f": True, "avx512_bf16": False}, "AVX512", torch.float32),
        ({"architecture": "x86_64", "avx512_bf16": True}, "AVX512", torch.bfloat16),
        ({"architecture": "x86_64", "amx_bf16": True}, "AVX512", torch.bfloat16),
        ({"architecture": "x86_64", "avx512_bf16": True}, "AVX2", torch.float32),
        ({"architecture": "arm64", "neon": True, "bf16": False}, "DEFAULT", torch.float32),
        ({"architecture": "arm64", "neon": True, "bf16": True}, "DEFAULT", torch.bfloat16),
        ({"architecture": "riscv64"}, "DEFAULT", torch.float32),
    ],
)
def test_a_processor_computes_in_bfloat16_only_where_it_has_units_for_it(monkeypatch, processor, used, dtype):
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: processor)
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: used)
    assert fast_dtype() == dtype


@pytest.mark.parametrize(("native", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_a_gpu_computes_in_bfloat16_only_where_it_has_units_for_it(monkeypatch, native, dtype):
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation: native or including_emulation)
    assert fast_dtype("cuda") == dtype
