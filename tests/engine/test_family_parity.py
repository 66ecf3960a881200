"""What every model family owes: stock vLLM at ratio 1, transformers on the kept rows below it, in every mode.

The same list for each bed. A family is done when its row passes.
"""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from beds import Bed
from cases import FAMILY_STOCK, MIXED, PORTRAIT, REDUCED, SQUARE, Case, picture
from clips import clip
from engines import (
    TOKENS,
    Answer,
    Reduced,
    answer_of,
    ask,
    encoder_runs,
    operated_with,
    recorded_rows,
    same_answer,
    start_engine,
)
from recording import recorded_selections
from reference import OnRows, Reference
from sppruner_vllm.planning.plan import retained_tokens
from switches import switches_of
from videos import recorded_positions

TOLERANCE = 2e-3
"""Largest difference of a logit, float32 on both sides, different kernels; the logits span some units."""

QUESTION = "what is the colour of the small cat"
BLOCK = 32
"""Tokens of a block of the KV cache, as the engines are started."""

RANKS = range(3)
"""A bed's ratios by place, from the largest to the smallest."""

_seeds = itertools.count(170)


@pytest.fixture(scope="session")
def engine(family: Bed, started: Callable[[Bed], Any]) -> Any:
    """The family's usual engine with our plugin."""
    return started(family)


@pytest.fixture(scope="session")
def answers(family: Bed, engine: Any) -> Reduced:
    """Each reduced case at each of the bed's ratios, asked alone: its answer and the kept indices per image."""
    answers = {}
    for index, case in enumerate(REDUCED):
        for ratio in family.ratios:
            with recorded_selections() as kept:
                (answer,) = ask(engine, [case], ratio)
            answers[index, ratio] = answer, kept
    return answers


@pytest.fixture
def asked() -> Case:
    """A question about a picture that no other test has shown to the engine."""
    return Case(((QUESTION, (SQUARE,)),), next(_seeds))


def test_our_class_runs(family: Bed, engine: Any) -> None:
    assert engine.apply_model(lambda model: type(model).__module__) == [family.ours]


# Ratio 1


@pytest.mark.parametrize("ratio", [None, 1.0])
def test_a_ratio_of_1_is_stock_vllm_to_the_token(
    engine: Any, family_stock: dict[str, Any], ratio: float | None
) -> None:
    engine.reset_prefix_cache()
    ours, stock = ask(engine, list(FAMILY_STOCK), ratio), family_stock["answers"]
    assert [answer.prompt_ids for answer in ours] == [answer.prompt_ids for answer in stock]
    assert [answer.tokens for answer in ours] == [answer.tokens for answer in stock]


# Below it


@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize("index", range(len(REDUCED)))
def test_a_reduced_prompt_answers_like_transformers(
    family: Bed, answers: Reduced, family_reference: Reference, index: int, rank: int
) -> None:
    answer, kept = answers[index, family.ratios[rank]]
    tokens, logits = family_reference.answer(REDUCED[index], kept, TOKENS)
    same_answer(answer, tokens, logits)
    sure, expected = answer.logits.log_softmax(-1), logits.log_softmax(-1)
    assert (sure - expected).abs().max() < TOLERANCE


@pytest.mark.parametrize("index", range(len(REDUCED)))
def test_every_image_keeps_exactly_its_budget(family: Bed, answers: Reduced, index: int) -> None:
    totals = [family.tokens(size) for _, sizes in REDUCED[index].turns for size in sizes]
    for ratio in family.ratios:
        _, kept = answers[index, ratio]
        assert [len(image) for image in kept] == [retained_tokens(total, ratio) for total in totals]


def test_a_square_keeps_the_number_counted_by_hand(family: Bed, engine: Any, answers: Reduced) -> None:
    placeholder = engine.get_tokenizer().convert_tokens_to_ids(family.placeholder)
    kept = {ratio: answers[0, ratio][0].prompt_ids.count(placeholder) for ratio in family.ratios}
    assert kept == family.square


def test_the_tolerance_tells_right_positions_from_wrong_ones(
    family: Bed, answers: Reduced, family_reference: Reference
) -> None:
    """Guards the comparison: neighbours of the kept rows, which differ by one place and a little content."""
    answer, kept = answers[0, family.ratios[1]]
    last = family.tokens(SQUARE) - 1
    moved = [[min(index + 1, last) for index in image] for image in kept]
    _, logits = family_reference.answer(REDUCED[0], [sorted(set(image)) for image in moved], TOKENS)
    assert (answer.logits[0] - logits[0]).abs().max() > 10 * TOLERANCE


def test_kept_rows_at_renumbered_places_would_have_shown(
    family: Bed, answers: Reduced, family_reference: Reference
) -> None:
    """Guards the comparison: the same rows, but at the places of the first rows of their image."""
    answer, (kept,) = answers[0, family.ratios[1]]
    prompt = family_reference.prompt(REDUCED[0], [kept])
    first_dropped = int((~prompt.keep).nonzero()[0])
    start = first_dropped - min(set(range(family.tokens(SQUARE))).difference(kept))
    renumbered = prompt.positions.clone()
    renumbered[..., start + torch.tensor(kept)] = prompt.positions[..., start : start + len(kept)]
    logits = family_reference.logits(prompt, renumbered)
    assert (answer.logits[0] - logits).abs().max() > 10 * TOLERANCE


def test_one_image_twice_in_a_prompt_is_placed_twice(family: Bed, engine: Any, family_reference: Reference) -> None:
    class Twice(Case):
        def images(self) -> list[Any]:
            return super().images()[:1] * 2

    case = Twice((("are these the same", (SQUARE, SQUARE)),), next(_seeds))
    with recorded_selections() as kept:
        (answer,) = ask(engine, [case], family.ratios[1])
    tokens, logits = family_reference.answer(case, [kept[0], kept[0]], TOKENS)
    same_answer(answer, tokens, logits)


def test_four_pictures_answer_like_transformers(family: Bed, engine: Any, family_reference: Reference) -> None:
    case = Case((("which of these has a cat", (SQUARE, PORTRAIT, SQUARE)), ("this", ()), ("and", (PORTRAIT,))), 160)
    with recorded_selections() as kept:
        (answer,) = ask(engine, [case], family.ratios[1])
    assert len(kept) == 4
    tokens, logits = family_reference.answer(case, kept, TOKENS)
    same_answer(answer, tokens, logits)


def test_a_video_that_stays_whole_moves_nothing(family: Bed, engine: Any) -> None:
    """Beside pictures that are reduced, of the families that reduce no videos."""
    if family.videos or "video" not in family.limits:
        pytest.skip("it takes no videos, or reduces them")
    (model,) = engine.apply_model(lambda model: model)
    seed = next(_seeds)
    parts: list[dict[str, Any]] = [
        {"type": "image_pil", "image_pil": picture(SQUARE, seed)},
        {"type": "video_url", "video_url": {"url": clip(seed)}},
        {"type": "image_pil", "image_pil": picture(PORTRAIT, seed)},
        {"type": "text", "text": QUESTION},
    ]
    with recorded_positions(model) as whole:
        ask_parts(engine, parts, 1.0)
    ids, features = whole["asked"]
    assert torch.equal(whole["places"], stock_positions(family, model, ids, features))
    with recorded_selections() as kept, recorded_positions(model) as reduced:
        answer = ask_parts(engine, parts, family.ratios[1])
    stays = torch.ones(len(ids), dtype=torch.bool)
    for feature, own in zip((one for one in features if one.modality == "image"), kept, strict=True):
        place = feature.mm_position
        rows = torch.arange(place.length) if place.is_embed is None else place.is_embed.nonzero().flatten()
        stays[place.offset + rows] = False
        stays[place.offset + rows[own]] = True
    assert torch.equal(reduced["places"], whole["places"][:, stays])
    assert reduced["delta"] - whole["delta"] == int((~stays).sum())
    assert answer.prompt_ids == torch.tensor(ids)[stays].tolist()


def ask_parts(engine: Any, parts: list[dict[str, Any]], ratio: float) -> Answer:
    """Put one message to an engine."""
    from vllm import SamplingParams

    sampling = SamplingParams(max_tokens=TOKENS, temperature=0, logprobs=-1, ignore_eos=True)
    messages: Any = [{"role": "user", "content": parts}]
    (output,) = engine.chat(messages, sampling, use_tqdm=False, mm_processor_kwargs={"keep_ratio": ratio})
    return answer_of(output)


def stock_positions(family: Bed, model: Any, ids: list[int], features: list[Any]) -> torch.Tensor:
    """Of a prompt that is not reduced: those of vLLM's own class, or of a line."""
    upstream = getattr(importlib.import_module(family.upstream), type(model).__name__, None)
    own = getattr(upstream, "get_mrope_input_positions", None)
    if own is not None:
        positions: torch.Tensor = own(model, ids, features)[0]
        return positions
    line = model.get_mrope_input_positions(ids, features)[0].clone()
    line[0] = torch.arange(len(ids))
    return line


# However the engine works


def test_mixed_ratios_in_one_batch_answer_like_each_alone(engine: Any, answers: Reduced) -> None:
    keys = list(answers)
    engine.reset_prefix_cache()
    together = ask(engine, [REDUCED[index] for index, _ in keys], [ratio for _, ratio in keys])
    for key, answer in zip(keys, together, strict=True):
        alike(answer, answers[key][0])


def test_chunks_that_cut_an_image_in_two_change_nothing(
    family: Bed, in_chunks: Callable[[Bed], Any], answers: Reduced
) -> None:
    llm = in_chunks(family)
    assert max(answer.prompt for answer, _ in answers.values()) > 3 * 48
    for (index, ratio), (alone, _) in answers.items():
        (chunked,) = ask(llm, [REDUCED[index]], ratio)
        alike(chunked, alone)
    together = ask(llm, [REDUCED[index] for index, _ in answers], [ratio for _, ratio in answers])
    for (alone, _), chunked in zip(answers.values(), together, strict=True):
        alike(chunked, alone)


def test_compilation_changes_nothing(family: Bed, family_model: Path, answers: Reduced) -> None:
    llm = start_engine(
        family_model,
        limit_mm_per_prompt=dict(family.limits),
        enforce_eager=False,
        mm_processor_cache_gb=0,
        max_num_seqs=16,
    )
    together = ask(llm, [REDUCED[index] for index, _ in answers], [ratio for _, ratio in answers])
    for (alone, _), compiled in zip(answers.values(), together, strict=True):
        alike(compiled, alone)


def alike(answer: Answer, expected: Answer) -> None:
    assert answer.tokens == expected.tokens
    assert answer.prompt_ids == expected.prompt_ids


# However it is operated


def test_with_each_switch_on_a_ratio_of_1_is_stock_vllm_to_the_token(
    family: Bed, engine: Any, family_stock: dict[str, Any]
) -> None:
    for name, chosen in switches_of(family).items():
        engine.reset_prefix_cache()
        with operated_with(**chosen):
            ours = ask(engine, list(FAMILY_STOCK), 1.0)
        for answer, stock in zip(ours, family_stock["answers"], strict=True):
            assert (answer.prompt_ids, answer.tokens) == (stock.prompt_ids, stock.tokens), name


def test_with_each_switch_on_a_reduced_prompt_answers_like_transformers(
    family: Bed, engine: Any, family_model: Path
) -> None:
    (model,), reference = engine.apply_model(lambda model: model), OnRows(family_model)
    for name, chosen in switches_of(family).items():
        for case in MIXED:
            model.forget_rows()
            engine.reset_prefix_cache()
            with operated_with(**chosen), recorded_selections() as kept, recorded_rows(model) as reference.rows:
                (answer,) = ask(engine, [case], family.ratios[1])
            tokens, logits = reference.answer(case, kept, TOKENS)
            assert answer.tokens == tokens, name
            assert (answer.logits - logits).abs().max() < TOLERANCE, name


# What is reused, and what is not


def test_the_same_request_twice_hits_the_prefix_cache_and_answers_alike(family: Bed, engine: Any, asked: Case) -> None:
    (first,) = ask(engine, [asked], family.ratios[0])
    (again,) = ask(engine, [asked], family.ratios[0])
    assert first.cached == 0
    assert again.cached > 0
    alike(again, first)
    assert torch.allclose(again.logits, first.logits, atol=1e-3)


def test_another_question_selects_anew_from_the_rows_of_the_first(
    family: Bed, engine: Any, asked: Case, family_reference: Reference
) -> None:
    ask(engine, [asked], family.ratios[1])
    other = replace(asked, turns=(("where is the big red house now", (SQUARE,)),))
    (model,) = engine.apply_model(lambda model: model)
    with recorded_selections() as anew, encoder_runs(model) as runs:
        (answer,) = ask(engine, [other], family.ratios[1])
    assert answer.cached == 0
    assert len(anew) == 1
    assert runs == []
    tokens, logits = family_reference.answer(other, anew, TOKENS)
    same_answer(answer, tokens, logits)


def test_ratio_1_and_a_smaller_one_about_a_picture_share_its_rows(
    family: Bed, engine: Any, asked: Case, family_reference: Reference
) -> None:
    (model,) = engine.apply_model(lambda model: model)
    for ratios in ((1.0, family.ratios[1]), (family.ratios[1], 1.0)):
        case = replace(asked, seed=next(_seeds))
        with encoder_runs(model) as runs:
            for ratio in ratios:
                with recorded_selections() as kept:
                    (answer,) = ask(engine, [case], ratio)
                tokens, logits = family_reference.answer(case, kept or None, TOKENS)
                same_answer(answer, tokens, logits)
        assert runs == [1]


def test_a_second_ratio_never_reuses_the_first_ones_rows(family: Bed, engine: Any, asked: Case) -> None:
    ask(engine, [asked], family.ratios[0])
    with recorded_selections() as kept:
        (other,) = ask(engine, [asked], family.ratios[1])
    assert other.cached == 0
    assert [len(image) for image in kept] == [retained_tokens(family.tokens(SQUARE), family.ratios[1])]


def test_in_turn_2_the_image_of_turn_1_is_still_cached_and_the_answer_is_right(
    family: Bed, engine: Any, asked: Case, family_reference: Reference
) -> None:
    with recorded_selections() as kept:
        ask(engine, [asked], family.ratios[0])
    chat = replace(asked, turns=(*asked.turns, ("it is green", ()), ("and the dog", ())))
    with recorded_selections() as anew:
        (second,) = ask(engine, [chat], family.ratios[0])
    assert second.cached >= 64
    assert anew == []
    tokens, _ = family_reference.answer(chat, kept, TOKENS)
    assert second.tokens == tokens


def test_a_hit_that_ends_inside_an_image_answers_like_the_cold_request(
    family: Bed, engine: Any, answers: Reduced
) -> None:
    placeholder = engine.get_tokenizer().convert_tokens_to_ids(family.placeholder)
    cut = [key for key, (cold, _) in answers.items() if _placeholders_around_the_last_block(cold, placeholder)]
    assert cut
    for index, ratio in cut:
        engine.reset_prefix_cache()
        ask(engine, [REDUCED[index]], ratio)
        (warm,) = ask(engine, [REDUCED[index]], ratio)
        assert warm.cached == _last_block(warm)
        alike(warm, answers[index, ratio][0])


def _last_block(answer: Answer) -> int:
    """Tokens of a prompt that a second request finds: whole blocks, and never the last token."""
    return (answer.prompt - 1) // BLOCK * BLOCK


def _placeholders_around_the_last_block(answer: Answer, placeholder: int) -> bool:
    end = _last_block(answer)
    return end > 0 and answer.prompt_ids[end - 1 : end + 1] == [placeholder] * 2
