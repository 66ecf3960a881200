"""Saliency, relevance, its gate, and the focus set they lead to."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from reduction_scenes import inside, noise_image, padded, scene, seeded
from sppruner_vllm.reduction import FocusContextParams, ImageTokens, Selection, reduce
from sppruner_vllm.reduction.core import grid as grids
from sppruner_vllm.reduction.core.centred import centre
from sppruner_vllm.reduction.focus_context.focus import focus_set, fuse
from sppruner_vllm.reduction.focus_context.rarity import rarity
from sppruner_vllm.reduction.focus_context.relevance import Relevance, narrowing, relevance, soft_maximum, word_weights
from sppruner_vllm.reduction.focus_context.saliency import distinctiveness, saliency

GRID = (20, 24)
OBJECT = (4, 5, 5, 6)
OTHER = (12, 15, 5, 6)
TRUSTED = torch.ones(1, 1).double()
STATES = FocusContextParams().for_states


def measured(image: ImageTokens, params: FocusContextParams | None = None) -> Relevance:
    params = params or FocusContextParams()
    batch = padded(image)
    return relevance(centre(batch.rows, batch).units, batch, grids.build(batch), None, params)


def aim(rows: Tensor, box: tuple[int, int, int, int]) -> Tensor:
    """(1, D) mean of a box's centred rows."""
    return (rows - rows.mean(0))[inside(GRID, box)].mean(0, keepdim=True)


def kept_in(selection: Selection, box: tuple[int, int, int, int]) -> int:
    return int(inside(GRID, box)[selection.kept].sum())


def test_distinctiveness_is_minus_the_mean_cosine_to_all_rows():
    rows = scene((6, 7), [(1, 1, 2, 2)], seed=0)
    batch = padded(ImageTokens(rows, (6, 7), None, 5))
    got = distinctiveness(centre(batch.rows, batch).units, batch)[0, :42]
    unit = torch.nn.functional.normalize((rows - rows.mean(0)).double(), dim=1)
    assert (got + (unit @ unit.T).mean(1)).abs().max() < 1e-3


def test_a_common_offset_does_not_change_what_stands_out_most():
    rows = scene((6, 7), [(1, 1, 2, 2)], seed=1)
    for shift in (0.0, 5.0, 50.0):
        salient = reduce([ImageTokens(rows + shift, (6, 7), None, 5)])[0].saliency
        assert set(salient.topk(4).indices.tolist()) == set(inside((6, 7), (1, 1, 2, 2)).nonzero().flatten().tolist())


def test_saliency_moves_with_the_rows_when_they_are_permuted():
    rows = scene((6, 7), [(1, 1, 2, 2)], seed=2)
    order = torch.randperm(42, generator=seeded(3))
    plain = reduce([ImageTokens(rows, (6, 7), None, 5)])[0].saliency
    moved = reduce([ImageTokens(rows[order], (6, 7), None, 5)])[0].saliency
    assert torch.equal(plain[order], moved)


def test_an_outlier_does_not_press_the_other_tokens_flat():
    rows = scene((20, 20), [], seed=4)
    rows[7] = -40 * (rows.mean(0) + torch.randn(256, generator=seeded(5)))
    batch = padded(ImageTokens(rows, (20, 20), None, 5))
    values = saliency(rarity(centre(batch.rows, batch), batch), batch, FocusContextParams())[0, :400]
    assert (values == 1).sum() >= 4


def test_a_planted_object_is_in_the_focus():
    rows = scene(GRID, [OBJECT], seed=6)
    selection = reduce([ImageTokens(rows, GRID, None, 120)])[0]
    focused = torch.zeros(480, dtype=torch.bool)
    focused[selection.kept[selection.is_focus]] = True
    assert focused[inside(GRID, OBJECT)].all()


def test_an_image_without_contrast_has_no_focus():
    selection = reduce([ImageTokens(torch.ones(480, 16), GRID, None, 100)])[0]
    assert not selection.is_focus.any()
    assert selection.saliency.max() == 0


@pytest.mark.parametrize("width", [64, 512])
@pytest.mark.parametrize("words", [1, 12])
def test_the_gate_is_shut_for_random_queries(width: int, words: int):
    gates = []
    for seed in range(10):
        rows = scene(GRID, [OBJECT, OTHER], seed=seed, width=width)
        query = torch.randn(words, width, generator=seeded(100 + seed))
        gates.append(measured(ImageTokens(rows, GRID, query, 100)).gate.item())
    assert max(gates) < 0.15
    assert sum(gates) / 10 < 0.05


@pytest.mark.parametrize("width", [64, 512])
def test_the_gate_opens_for_a_query_that_points_at_a_patch(width: int):
    for seed in range(10):
        rows = scene(GRID, [OBJECT, OTHER], seed=seed, width=width)
        assert measured(ImageTokens(rows, GRID, aim(rows, OBJECT), 100)).gate.item() > 0.5


def test_one_pointing_word_among_random_ones_opens_the_gate():
    rows = scene(GRID, [OBJECT, OTHER], seed=7)
    noise = torch.randn(11, 256, generator=seeded(8))
    query = torch.cat([noise, aim(rows, OBJECT)])
    assert measured(ImageTokens(rows, GRID, query, 100)).gate.item() > 0.5


def test_the_gate_is_shut_when_the_aim_is_scattered_over_the_image():
    rows = scene(GRID, [], seed=9)
    scattered = torch.randperm(480, generator=seeded(10))[:30]
    rows[scattered] += torch.randn(256, generator=seeded(11))
    query = (rows - rows.mean(0))[scattered].mean(0, keepdim=True)
    assert measured(ImageTokens(rows, GRID, query, 100)).gate.item() < 0.2


def test_a_direction_along_which_the_image_spreads_both_ways_means_nothing_with_contrast():
    rows = scene(GRID, [], seed=9)
    along = 6 * torch.randn(256, generator=seeded(11))
    rows[inside(GRID, OBJECT)] += along
    rows[inside(GRID, OTHER)] -= along
    one_way = scene(GRID, [OBJECT, OTHER], seed=7)
    for params, told in ((FocusContextParams(), True), (FocusContextParams(gate_contrast=True), False)):
        spread = [measured(ImageTokens(rows, GRID, sign * along[None], 100), params).gate.item() for sign in (1, -1)]
        assert all((gate > 0.5) == told for gate in spread)
        assert measured(ImageTokens(one_way, GRID, aim(one_way, OBJECT), 100), params).gate.item() > 0.5


def test_a_shut_gate_shows_as_zero_relevance_and_leaves_the_choice_alone():
    rows = scene(GRID, [OBJECT], seed=12)
    query = torch.randn(4, 256, generator=seeded(13))
    asked, bare = reduce([ImageTokens(rows, GRID, query, 100), ImageTokens(rows, GRID, None, 100)])
    assert asked.relevance is not None
    assert asked.relevance.max() == 0
    assert torch.equal(asked.kept, bare.kept)
    assert torch.equal(asked.scores, bare.scores)


def test_relevance_is_highest_where_the_query_points():
    rows = scene(GRID, [OBJECT, OTHER], seed=14)
    shown = reduce([ImageTokens(rows, GRID, aim(rows, OTHER), 100)])[0].relevance
    assert shown is not None
    there = inside(GRID, OTHER)
    assert shown[there].mean() > 0.7
    assert shown[~there].mean() < 0.4


@pytest.mark.parametrize("seed", range(5))
def test_a_query_moves_kept_tokens_to_what_it_names(seed: int):
    boxes = [(0, 0, 8, 8), (0, 14, 8, 8), (11, 0, 8, 8), (11, 14, 8, 8)]
    rows = scene(GRID, boxes, seed=seed)
    bare = reduce([ImageTokens(rows, GRID, None, 80)])[0]
    steered = {box: reduce([ImageTokens(rows, GRID, aim(rows, box), 80)])[0] for box in boxes}
    gained = {box: kept_in(steered[box], box) - kept_in(bare, box) for box in boxes}
    least_kept = min(boxes, key=lambda box: kept_in(bare, box))
    assert min(gained.values()) >= 0
    assert gained[least_kept] >= 10


def question(*parts: Tensor, seed: int = 31) -> Tensor:
    """Words that mean something, among three that mean nothing."""
    return torch.cat([torch.randn(3, 256, generator=seeded(seed)), *parts])


def test_states_are_heard_where_the_words_say_nothing():
    rows = scene(GRID, [OBJECT, OTHER], seed=30)
    read = question(aim(rows, OTHER))
    both = ImageTokens(rows, GRID, question(seed=32), 40, states=read)
    blind, heard = reduce([replace(both, states=None)])[0], reduce([both])[0]
    assert kept_in(heard, OTHER) > kept_in(blind, OTHER)
    alone = reduce([replace(both, query=None)])[0]
    assert torch.equal(heard.kept, alone.kept)
    assert torch.equal(heard.scores, alone.scores)
    assert torch.equal(alone.kept, reduce([replace(both, query=read, states=None)], params=STATES)[0].kept)


def test_words_that_are_fully_trusted_are_heard_whatever_the_states_say():
    rows = scene(GRID, [OBJECT, OTHER], seed=33)
    words = ImageTokens(rows, GRID, question(aim(rows, OBJECT)), 40)
    assert measured(words).gate == 1
    both = replace(words, states=question(aim(rows, OTHER)))
    for one, other in zip(reduce([words]), reduce([both]), strict=True):
        assert torch.equal(one.kept, other.kept)
        assert torch.equal(one.scores, other.scores)


def test_words_and_states_that_say_nothing_change_nothing():
    rows = scene(GRID, [OBJECT, OTHER], seed=34)
    blind = ImageTokens(rows, GRID, None, 40)
    asked = replace(blind, query=question(), states=question(seed=35))
    assert torch.equal(reduce([blind])[0].scores, reduce([asked])[0].scores)
    assert torch.equal(reduce([blind])[0].kept, reduce([asked])[0].kept)


def test_the_text_mean_is_taken_off_the_query():
    rows = scene(GRID, [OBJECT], seed=15)
    offset = 50 * torch.randn(256, generator=seeded(16))
    drowned = ImageTokens(rows, GRID, aim(rows, OBJECT) + offset, 100)
    plain, centred = reduce([drowned])[0].relevance, reduce([drowned], text_mean=offset)[0].relevance
    assert plain is not None
    assert centred is not None
    assert centred[inside(GRID, OBJECT)].mean() > plain[inside(GRID, OBJECT)].mean() + 0.5


def test_a_random_word_narrows_an_image_down_by_half_a_nat():
    batch = padded(noise_image((40, 40), 100, seed=17, width=512, words=32))
    units = centre(batch.rows, batch).units
    text = torch.nn.functional.normalize(batch.text.double(), dim=-1)
    scores = torch.bmm(text, torch.nn.functional.normalize(units.double(), dim=-1).transpose(1, 2)) * 512**0.5
    assert narrowing(scores, batch).mean().item() == pytest.approx(0.5, abs=0.05)


def test_narrowing_is_the_entropy_that_the_softmax_lost():
    batch = padded(noise_image((3, 4), 2, seed=18, words=2))
    scores = torch.randn(1, 2, batch.real.shape[1], generator=seeded(19), dtype=torch.float64)
    chance = scores[..., :12].softmax(-1)
    expected = math.log(12) + (chance * chance.log()).sum(-1)
    assert (narrowing(scores, batch) - expected).abs().max() < 1e-5


def test_the_words_of_lowest_entropy_are_heard():
    batch = padded(noise_image((3, 4), 2, seed=20, words=6))
    weights = word_weights(torch.tensor([[0.1, 2.0, 0.4, 1.5, 0.2, 1.0]]).double(), batch, FocusContextParams())
    assert (weights > 0).tolist() == [[False, True, False, True, False, True]]
    assert weights[0, 1] > weights[0, 3] > weights[0, 5]
    assert weights.sum().item() == pytest.approx(1)


def test_the_soft_maximum_follows_the_best_word():
    scores = torch.tensor([[[9.0, 0.0, 0.0], [0.0, 9.0, 0.0]]]).double()
    values = soft_maximum(scores, torch.tensor([[0.5, 0.5]]).double(), 2)
    assert values[0, :2].tolist() == pytest.approx([9 - math.log(2)] * 2, abs=1e-3)
    assert values[0, 2].item() == pytest.approx(0, abs=1e-5)


def test_words_without_a_weight_are_as_if_they_were_not_there():
    scores = torch.randn(1, 4, 9, generator=seeded(5), dtype=torch.float64)
    weight = torch.tensor([[0.0, 0.7, 0.0, 0.3]]).double()
    assert torch.equal(soft_maximum(scores, weight, 2), soft_maximum(scores, weight, 4))


def fused(blind: Tensor, relevant: Relevance | None, params: FocusContextParams) -> list[float]:
    """Of tokens side by side, in the scale of the standing."""
    neighbours = grids.build(padded(noise_image((1, blind.shape[1]), 1, seed=0)))
    most = 1 + params.relevance_weight + params.surroundings
    return (fuse(blind, relevant, neighbours, params)[0] * most).tolist()


@pytest.mark.parametrize(("gate", "expected"), [(0.0, [0.2, 0.9, 0.2]), (1.0, [1.2, 0.9, 0.2 + 0.5**4])])
def test_relevance_adds_to_what_stands_and_a_shut_gate_leaves_it(gate: float, expected: list[float]):
    blind = torch.tensor([[0.2, 0.9, 0.2]]).double()
    relevant = Relevance(torch.tensor([[1.0, 0.0, 0.5]]).double(), torch.tensor([[gate]]).double())
    assert fused(blind, relevant, FocusContextParams(surroundings=0)) == pytest.approx(expected, abs=1e-5)


def test_what_surrounds_a_named_token_gains_of_its_own_standing():
    blind = torch.tensor([[0.1, 0.5, 0.0, 0.5, 0.5]]).double()
    relevant = Relevance(torch.tensor([[1.0, 0.0, 0.0, 0.0, 0.0]]).double(), TRUSTED)
    got = fused(blind, relevant, FocusContextParams(surroundings=0.5))
    assert got == pytest.approx([1.15, 0.75, 0.0, 0.5, 0.5], abs=1e-5)


def test_what_a_question_does_not_name_keeps_its_order():
    """So a question about something else costs no more than the tokens that it points at, and those around them."""
    blind = torch.rand(1, 40, generator=seeded(30)).double()
    relevant = Relevance((torch.arange(40) < 6).double()[None], TRUSTED)
    with_it, without = (fused(blind, asked, FocusContextParams()) for asked in (relevant, None))
    assert with_it[8:] == without[8:]
    assert all(one > other for one, other in zip(with_it[:8], without[:8], strict=True))


def test_nine_tenths_of_the_mass_in_as_few_tokens_as_hold_it_have_a_claim():
    batch = padded(noise_image((3, 4), 12, seed=21))
    mass = torch.zeros(batch.real.shape).double()
    mass[0, [2, 5, 9, 10]] = torch.tensor([0.5, 0.3, 0.15, 0.05]).double()
    claim, focus = focus_set(mass, batch, FocusContextParams())
    assert claim[0].nonzero().flatten().tolist() == [2, 5, 9]
    assert torch.equal(claim, focus)


def test_claim_and_focus_stop_at_their_shares_of_the_budget_the_lower_index_first():
    batch = padded(noise_image((3, 4), 8, seed=21), noise_image((2, 2), 4, seed=22))
    mass = torch.full(batch.real.shape, 0.5).double()
    found = focus_set(mass, batch, FocusContextParams(focus_cap=0.5, scan_share=0.25))
    claim, focus = ([row.nonzero().flatten().tolist() for row in part] for part in found)
    assert claim == [[0, 1, 2, 3, 4, 5], [0, 1, 2]]
    assert focus == [[0, 1, 2, 3], [0, 1]]


def test_tokens_without_mass_are_no_focus():
    batch = padded(noise_image((3, 4), 12, seed=21))
    mass = torch.zeros(batch.real.shape).double()
    mass[0, 7] = 0.25
    params = FocusContextParams(focus_mass=1.0)
    assert [part[0].nonzero().flatten().tolist() for part in focus_set(mass, batch, params)] == [[7], [7]]


def test_smoothing_keeps_a_flat_map_flat_up_to_the_border():
    batch = padded(noise_image((4, 5), 2, seed=23))
    flat = torch.where(batch.real, 0.7, 0.0).double()
    assert grids.smooth(flat, grids.build(batch))[0, :20].tolist() == pytest.approx([0.7] * 20)


@pytest.mark.parametrize(("pattern", "low", "high"), [("halves", 0.8, 1.0), ("board", -1.0, -0.99), ("flat", 0.0, 0.0)])
def test_morans_i_tells_patches_from_scatter(pattern: str, low: float, high: float):
    batch = padded(noise_image((8, 8), 2, seed=24))
    row, column = torch.arange(8)[:, None], torch.arange(8)
    values = {"halves": (column > 3) | (row < 0), "board": (row + column) % 2 == 0, "flat": row + column < 99}[pattern]
    index = grids.morans_i(values.flatten()[None].double(), batch, grids.build(batch)).item()
    assert low <= index <= high + 1e-9
