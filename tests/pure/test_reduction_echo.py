"""Echoes: a large thing is seen once before it is seen whole, unless the question says what matters."""

from __future__ import annotations

import pytest
import torch

from reduction_scenes import noise_image, padded
from sppruner_vllm.reduction import FocusContextParams, ImageTokens, reduce
from sppruner_vllm.reduction.core import grid
from sppruner_vllm.reduction.focus_context.echo import echoes, far_echoes, without_echoes
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
    """Twelve things of one look and six of another look each, one token wide, for a budget of twelve."""
    generator = torch.Generator().manual_seed(seed)
    rows = 0.05 * torch.randn(400, 64, generator=generator)
    places = [row * 20 + column for row in range(2, 20, 6) for column in range(1, 20, 3)][:18]
    rows[places[:12]] += 2 * torch.randn(64, generator=generator)
    rows[places[12:]] += 2 * torch.randn(6, 64, generator=generator)
    image = ImageTokens(rows, (20, 20), None, 12)

    def of_their_own(far: float) -> int:
        params = FocusContextParams(echo_far=far, quota_share=0.0)
        return len(set(places[12:]) & set(reduce([image], params=params)[0].kept.tolist()))

    assert of_their_own(1.0) == 6
    assert 6 > of_their_own(FocusContextParams().echo_far) > of_their_own(0.0)


def test_a_trusted_question_knows_no_echoes_near_or_far():
    image = noise_image((9, 8), 20, seed=8, words=4)
    trusting = FocusContextParams(gate=False)
    plain = FocusContextParams(gate=False, echo_discount=0.0, echo_far=0.0, blind_cap=trusting.focus_cap)
    one, other = (reduce([image], params=params)[0] for params in (trusting, plain))
    assert torch.equal(one.scores, other.scores)
    assert torch.equal(one.kept, other.kept)
