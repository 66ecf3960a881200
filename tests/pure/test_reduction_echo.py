"""Echoes: a large thing is seen once before it is seen whole, unless the question says what matters."""

from __future__ import annotations

import pytest
import torch

from reduction_scenes import noise_image, padded
from sppruner_vllm.reduction import FocusContextParams, ImageTokens, reduce
from sppruner_vllm.reduction.core import grid
from sppruner_vllm.reduction.focus_context.echo import blind_standing, echoes, far_echoes, without_echoes
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
    units = centred_directions(batch.rows, batch)
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


def test_a_far_echo_is_the_largest_likeness_to_a_token_of_higher_standing():
    """Against the definition; candidates are the ten of highest standing, and all others count as echoes."""
    batch = padded(noise_image((5, 7), 5, seed=5), noise_image((4, 4), 3, seed=6))
    units = centred_directions(batch.rows, batch)
    standing = torch.randint(0, 9, (2, 35), generator=torch.Generator().manual_seed(2)).double() / 8
    standing[1, 16:] = 0
    got = far_echoes(units, standing, batch, FocusContextParams(echo_candidates=2.0))
    cosine = torch.nn.functional.cosine_similarity(units.unsqueeze(1), units.unsqueeze(2), dim=-1)
    for image, (size, count) in enumerate(((35, 10), (16, 6))):
        ranked = sorted(range(size), key=lambda token, image=image: (-float(standing[image, token]), token))
        for place, token in enumerate(ranked):
            before = [float(cosine[image, token, other]) for other in ranked[:place]]
            expected = max([0.0, *before]) if place < count else 1.0
            assert abs(float(got[image, token]) - expected) < 2e-3


@pytest.mark.parametrize("seed", range(3))
def test_of_many_alike_far_apart_fewer_are_kept_where_there_are_things_of_a_kind_of_their_own(seed: int):
    """Twelve things of one look, and six of another look each that stand out less, for a budget of twelve."""
    generator = torch.Generator().manual_seed(seed)
    rows = 0.05 * torch.randn(400, 64, generator=generator)
    places = [row * 20 + column for row in range(2, 20, 6) for column in range(1, 20, 3)][:18]
    rows[places[:12]] += 2 * torch.randn(64, generator=generator)
    rows[places[12:]] += 2 * torch.randn(6, 64, generator=generator)
    batch = padded(ImageTokens(rows, (20, 20), None, 12))
    salient = torch.zeros(1, 400).double()
    salient[0, places[:12]], salient[0, places[12:]] = 1.0, 0.75
    units = centred_directions(batch.rows, batch)

    def of_their_own(far: float) -> int:
        params = FocusContextParams(echo_far=far, echo_candidates=1.5)
        standing = blind_standing(units, salient, batch, grid.build(batch), params)
        return len(set(places[12:]) & set(standing[0].topk(12).indices.tolist()))

    assert of_their_own(FocusContextParams().echo_far) == 6
    assert of_their_own(0.0) == 0
