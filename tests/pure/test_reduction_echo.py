"""Echoes: a large thing is seen once before it is seen whole, unless the question says what matters."""

from __future__ import annotations

import pytest
import torch

from reduction_scenes import noise_image, padded
from sppruner_vllm.reduction import FocusContextParams, ImageTokens, reduce
from sppruner_vllm.reduction.core import grid
from sppruner_vllm.reduction.focus_context.echo import echoes, without_echoes
from sppruner_vllm.reduction.focus_context.saliency import centred_directions


def test_an_echo_is_the_largest_likeness_to_a_more_salient_neighbour():
    """Against the definition, token by token, on a grid with a border and ties."""
    batch = padded(noise_image((5, 7), 16, seed=3))
    places = grid.build(batch)
    units = centred_directions(batch.rows, batch)
    salient = torch.randint(0, 4, (1, batch.real.shape[1]), generator=torch.Generator().manual_seed(1)).double() / 4
    salient[:, 35:] = 0
    got = echoes(units, salient, batch, places)[0]
    lengths = units[0].double().norm(dim=-1).clamp_min(1e-9)
    cosine = units[0].double() @ units[0].double().T / lengths / lengths.unsqueeze(1)
    for one in range(35):
        rows, columns = divmod(one, 7)
        expected = 0.0
        for other in range(35):
            row, column = divmod(other, 7)
            near = one != other and max(abs(row - rows), abs(column - columns)) == 1
            if near and (salient[0, other], -other) > (salient[0, one], -one):
                expected = max(expected, float(cosine[one, other]))
        assert abs(float(got[one]) - expected) < 2e-3
    assert (got > 0).any()


@pytest.mark.parametrize("shape", [(1, 16), (16, 1), (1, 1), (1, 33), (2, 8)])
def test_images_one_token_wide_have_echoes_too(shape: tuple[int, int]):
    rows = torch.randn(shape[0] * shape[1], 8, generator=torch.Generator().manual_seed(4))
    assert len(reduce([ImageTokens(rows, shape, None, 1)])[0].kept) == 1


def test_trust_in_the_question_lifts_the_discount():
    salient, echo = torch.full((2, 3), 0.5).double(), torch.tensor([[0.0, 0.5, 1.0]] * 2).double()
    got = without_echoes(salient, echo, torch.tensor([[0.0], [1.0]]).double(), 0.8)
    torch.testing.assert_close(got[0], torch.tensor([0.5, 0.3, 0.1]).double(), atol=1e-5, rtol=0)
    torch.testing.assert_close(got[1], salient[1], atol=1e-5, rtol=0)


def test_without_a_question_a_large_loud_thing_takes_less_of_the_budget():
    rows = torch.randn(64, 32, generator=torch.Generator().manual_seed(0)) * 0.5 + 1.0
    patch = {row * 8 + column for row in range(4) for column in range(4)}
    rows[list(patch)] += 6 * torch.randn(32, generator=torch.Generator().manual_seed(1))

    def share_of_the_patch(discount: float) -> int:
        params = FocusContextParams(echo_discount=discount)
        return len(patch & set(reduce([ImageTokens(rows, (8, 8), None, 24)], params=params)[0].kept.tolist()))

    assert share_of_the_patch(1.0) < share_of_the_patch(0.0)
