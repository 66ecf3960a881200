"""Echoes: a large thing is seen once before it is seen whole, unless the question says what matters."""

from __future__ import annotations

import pytest
import torch

from reduction_scenes import noise_image, padded
from sppruner_vllm.reduction import FocusContextParams, ImageTokens, reduce
from sppruner_vllm.reduction.core import grid
from sppruner_vllm.reduction.core.centred import centre
from sppruner_vllm.reduction.focus_context.echo import blind_standing, echoes, without_echoes


def test_an_echo_is_the_largest_likeness_to_a_more_salient_neighbour():
    """Against the definition, token by token, on a grid with a border and ties."""
    batch = padded(noise_image((5, 7), 16, seed=3))
    places = grid.build(batch)
    units = centre(batch.rows, batch).units
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


def test_an_echo_is_discounted_as_far_as_it_is_one():
    standing, echo = torch.full((1, 3), 0.5).double(), torch.tensor([[0.0, 0.5, 1.0]]).double()
    assert without_echoes(standing, echo, 0.8)[0].tolist() == pytest.approx([0.5, 0.3, 0.1], abs=1e-5)


def test_a_second_token_of_what_stands_out_comes_before_the_first_of_what_hardly_does():
    """Tokens 0 and 1 show one thing, with cosine 0.8; token 7 shows another that is half as salient."""
    batch = padded(noise_image((2, 4), 4, seed=1))
    units = torch.zeros(1, 8, 32)
    units[0, 0, 0], units[0, 1, :2], units[0, 7, 2] = 2000, torch.tensor([1600, 1200]), 2000
    salient = torch.tensor([[0.9, 0.9, 0, 0, 0, 0, 0, 0.5]]).double()
    loud, even = (
        blind_standing(units, salient, batch, grid.build(batch), FocusContextParams(blind_power=power))[0]
        for power in (2.0, 1.0)
    )
    assert loud[0] > loud[1] > loud[7] > 0
    assert even[0] > even[7] > even[1] > 0


def test_what_stands_out_does_not_depend_on_which_way_round_a_picture_is():
    """Up to ties, which go to the lower index."""
    batch = padded(noise_image((5, 7), 12, seed=9))
    units = centre(batch.rows, batch).units
    salient = torch.randperm(35, generator=torch.Generator().manual_seed(2)).double()[None] / 35
    plain = blind_standing(units, salient, batch, grid.build(batch), FocusContextParams())[0].view(5, 7)
    for sides in ((0,), (1,), (0, 1)):
        turned = units.view(1, 5, 7, -1).flip([1 + side for side in sides]).reshape(units.shape)
        values = salient.view(5, 7).flip(sides).reshape(1, 35)
        got = blind_standing(turned, values, batch, grid.build(batch), FocusContextParams())[0].view(5, 7)
        torch.testing.assert_close(got.flip(sides), plain, atol=1e-6, rtol=0)


def test_without_a_question_a_large_loud_thing_takes_less_of_the_budget():
    rows = torch.randn(64, 32, generator=torch.Generator().manual_seed(0)) * 0.5 + 1.0
    patch = {row * 8 + column for row in range(4) for column in range(4)}
    rows[list(patch)] += 6 * torch.randn(32, generator=torch.Generator().manual_seed(1))

    def share_of_the_patch(discount: float) -> int:
        params = FocusContextParams(echo_discount=discount)
        return len(patch & set(reduce([ImageTokens(rows, (8, 8), None, 24)], params=params)[0].kept.tolist()))

    assert share_of_the_patch(1.0) < share_of_the_patch(0.0)
