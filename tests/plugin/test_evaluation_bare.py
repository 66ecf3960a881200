"""The bare backend and the ablation: greedy answers as transformers writes them, and a table that compares variants."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration

from sppruner_vllm.demo.forward import decode
from sppruner_vllm.evaluation import ablation, auto_ratios, stress
from sppruner_vllm.evaluation.asking import AskingFailed, Manner
from sppruner_vllm.evaluation.bootstrap import Interval
from sppruner_vllm.evaluation.conditions import FULL, Condition, conditions
from sppruner_vllm.evaluation.disturbing import DISTURBANCES
from sppruner_vllm.evaluation.engineless import EnginelessAsker, Variant, answered_together
from sppruner_vllm.evaluation.pictures import opened
from sppruner_vllm.evaluation.questions import Picture, Question
from sppruner_vllm.evaluation.records import Store
from sppruner_vllm.evaluation.runner import Run
from sppruner_vllm.evaluation.turns import Turn
from sppruner_vllm.reduction import FocusContextParams

TOKENS = 4


def picture(name: str, width: int, height: int) -> Picture:
    pixels = np.random.default_rng(width * height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return Picture(name, buffer.getvalue)


WIDE, TALL = picture("wide", 280, 140), picture("tall", 140, 224)
QUESTIONS = [
    Question("1", (WIDE,), "what is this", ("a",), group="1"),
    Question("2", (WIDE, TALL), "which picture shows a cat", ("b",), group="1"),
    Question("3", (TALL,), "how many", ("c",), group="2"),
]
LATER = Question("4", (WIDE,), "how many", ("c",), before=(Turn("where is the cat", "top left"),))
"""A second turn about a picture that the first one brought."""


@pytest.fixture(scope="module")
def asker(tiny_model) -> EnginelessAsker:
    return EnginelessAsker(str(tiny_model), Manner(max_tokens=TOKENS))


@torch.inference_mode()
def test_whole_pictures_are_answered_as_by_transformers(asker, tiny_model):
    processor = AutoProcessor.from_pretrained(tiny_model)
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(tiny_model, dtype=torch.float32).eval()
    theirs = []
    for question in (*QUESTIONS, LATER):
        images = [Image.open(io.BytesIO(shown.read())) for shown in question.images]
        first, *_ = [turn.text for turn in question.before] + [question.text]
        chat = [{"role": "user", "content": [*({"type": "image"} for _ in images), {"type": "text", "text": first}]}]
        if question is LATER:
            chat += [{"role": "assistant", "content": "top left"}, {"role": "user", "content": question.text}]
        prompt = processor.apply_chat_template(chat, add_generation_prompt=True)
        inputs = processor(text=[prompt], images=images, return_tensors="pt")
        written = model.generate(**inputs, max_new_tokens=TOKENS, do_sample=False)[0, inputs["input_ids"].shape[1] :]
        theirs.append(processor.tokenizer.decode(written, skip_special_tokens=True).strip())
    assert [answer.text for answer in asker.ask([*QUESTIONS, LATER], FULL)] == theirs


def test_a_second_turn_has_the_picture_as_the_first_one_chose_it(asker):
    def chosen_for(text, **others):
        question = replace(LATER, text=text, **{"before": (), **others})
        (plan,) = asker._plans(question, Condition("relevance", 0.222), Variant())
        return plan.query_ids

    first = chosen_for("where is the cat")
    assert first
    assert chosen_for("how many", before=(Turn("where is the cat", "top left"),)) == first
    assert set(chosen_for("how many", focus="where is the cat")) == set(first)
    assert chosen_for("how many") != first


@pytest.mark.parametrize(
    ("method", "retained"), [("focus_context", [12, 21, 9]), ("hybrid", [12, 21, 9]), ("downscale", [12, 20, 8])]
)
def test_a_method_shows_as_many_tokens_as_serving_would(asker, method, retained):
    answers = asker.ask(QUESTIONS, Condition(method, 0.222))
    assert [answer.original for answer in answers] == [50, 90, 40]
    assert [answer.retained for answer in answers] == retained


def test_a_picture_of_broken_tokens_is_refused(asker):
    odd = Question("4", (picture("odd", 100, 100),), "what", ("a",))
    with pytest.raises(AskingFailed, match=r"question 4: .*multiples of 28"):
        asker.usable(odd, [FULL])


def test_a_share_behind_a_method_has_questions_read_so_deep(asker):
    read = asker.ask(QUESTIONS, Condition("relevance:0.5", 0.222))
    assert read == asker.ask_varied(QUESTIONS, Condition("relevance", 0.222), Variant(depth=0.5))


@pytest.mark.parametrize("method", ["relevance:1", "relevance:0", "relevance:half", "relevance:"])
def test_no_share_of_the_layers_behind_a_method_is_refused(asker, method):
    with pytest.raises(AskingFailed, match=r"share|could not convert"):
        asker.usable(QUESTIONS[0], [Condition(method, 0.222)])


def test_another_query_changes_the_selection_and_nothing_else(asker):
    one = asker.ask_varied(QUESTIONS, Condition("relevance", 0.222), Variant(query="red"))
    other = asker.ask_varied(QUESTIONS, Condition("relevance", 0.222), Variant(query="blue"))
    assert [answer.prompt_tokens for answer in one] == [answer.prompt_tokens for answer in other]


def test_the_ablation_compares_every_variant_with_the_first_and_asks_nothing_twice(asker, tmp_path):
    answers = asker.ask(QUESTIONS, FULL)
    asked = [replace(question, answers=(answer.text,)) for question, answer in zip(QUESTIONS, answers, strict=True)]
    variants = {"as shipped": Variant(), "no gate": Variant(params=FocusContextParams(gate=False))}
    names, ratios, store = list(variants), [0.5, 0.222], Store(tmp_path / "answers.jsonl")

    def every(number: int, depth: float = 0.0) -> Run:
        return Run(ablation.Varied(asker, variants, depth), Manner(TOKENS), "tiny", asked[:number], store)

    ablation.ask(every(2), names, ratios)
    assert ablation.compare(store.kept(every(2).key), names, ratios, 1000)[1] == 2
    assert {len(missing) for missing in every(3).missing(conditions(names, ratios)).values()} == {1}
    ablation.ask(every(3), names, ratios)
    found, answered = ablation.compare(store.kept(every(3).key), names, ratios, 1000)
    assert answered == 3
    assert found["as shipped"][0.5][1].value == 0
    text = ablation.table(found, ratios)
    assert text.splitlines()[0] == "| variant | 50.0% kept | 22.2% kept |"
    assert [line.split(" | ")[0] for line in text.splitlines()[2:]] == ["| as shipped", "| no gate"]
    with pytest.raises(AskingFailed, match="the same command goes on"):
        ablation.compare(store.kept(every(3, 0.5).key), names, ratios, 1000)


def test_the_ablation_takes_each_reading_of_a_question_away(asker, monkeypatch):
    heard, full = {}, Condition("focus_context", 0.5)
    ask = asker.ask_varied
    monkeypatch.setattr(
        asker, "ask_varied", lambda asked, how, variant: heard.update({how: variant}) or ask(asked, how, variant)
    )

    def asked(name):
        answers = ablation.Varied(asker, ablation.VARIANTS, 0.3).ask(QUESTIONS, Condition(name, 0.5))
        return [answer.text for answer in answers], heard[full]

    words, variant = asked(ablation.WORDS_ALONE)
    assert variant == Variant()
    assert words == [answer.text for answer in asker.ask(QUESTIONS, Condition("focus_context:words", 0.5))]
    assert asked("the layers' reading alone")[1] == Variant(depth=0.3, words=False)
    assert asked(ablation.SHIPPED)[1] == Variant(depth=0.3)


def test_a_variant_that_does_not_exist_is_refused_by_its_name(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["ablation", "--variants", "no gate", "no such step"])
    with pytest.raises(SystemExit):
        ablation.main()
    assert "no such step" in capsys.readouterr().err


def test_a_ratio_that_fits_stands_beside_one_for_all_with_as_many_tokens(asker):
    flat = io.BytesIO()
    Image.new("RGB", (280, 280), "green").save(flat, "PNG")
    shown = {"noise": picture("noise", 280, 280), "flat": Picture("flat", flat.getvalue), "small": WIDE}
    asked = [Question(name, (own,), "what is this", ("a",), group=name) for name, own in shown.items()]
    # Of 100, 100 and 50 tokens: the ratio for reading, the least, and all of a small picture.
    plans = [asker._plans(one, Condition("focus_context", 1.0), Variant(auto=True)) for one in asked]
    assert [plan.retained for planned in plans for plan in planned] == [60, 15, 50]
    rows = auto_ratios.examine(asker, asked, (0.2,), 1000)
    assert [row.kept_by for row in rows[:4]] == [
        auto_ratios.AUTO,
        auto_ratios.WHOLE,
        auto_ratios.EQUAL,
        auto_ratios.SMALLER,
    ]
    assert rows[0].tokens == sum((60, 15, 50)) / 3
    assert rows[2].tokens == rows[0].tokens
    assert len(auto_ratios.table(rows).splitlines()) == 2 + len(rows)


@torch.inference_mode()
def test_a_question_is_read_as_transformers_reads_it(asker, tiny_model):
    language = Qwen2_5_VLForConditionalGeneration.from_pretrained(tiny_model, dtype=torch.float32).model.language_model
    (lead,), ids = asker._plain.chat.family.lead, [300, 301, 302]
    states = language(torch.tensor([[lead, *ids]]), use_cache=False, output_hidden_states=True).hidden_states
    read = asker._plain.states(ids, 0.5)
    assert torch.allclose(read, states[len(language.layers) // 2][0, 1:], atol=1e-4)


def test_the_stress_asks_each_kind_of_query_plain_and_disturbed(asker):
    rows = stress.run(asker, QUESTIONS, (0.5,), (0.5, 0.2), 1000)
    names = [(row.query, row.disturbed, row.ratio) for row in rows]
    kinds = [None, *DISTURBANCES]
    read = ("words", "words and states at 0.5", "states at 0.5")
    assert names == [(query, kind, ratio) for ratio in (0.5, 0.2) for query in read for kind in kinds]
    assert all(0 <= row.opened <= 1 for row in rows)
    assert all(row.blind.value == 0 for row in rows if row.opened == 0)
    assert len(stress.table(rows).splitlines()) == 2 + len(rows)


def test_a_disturbed_query_that_moves_answers_is_said_not_to_hold():
    same, moved = (Interval(value, None, None) for value in (0.001, -0.01))
    rows = [
        stress.Row("words", kind, 0.2, 0.0, same, found, same) for kind in (None, "noise") for found in (same, moved)
    ]
    assert [row.holds for row in rows] == [True, True, True, False]
    assert stress.table(rows).splitlines()[-1].endswith("| **no** |")


@pytest.mark.parametrize("kind", DISTURBANCES)
def test_a_disturbance_keeps_shapes_and_is_the_same_each_time(kind):
    dice = torch.Generator().manual_seed(1)
    queries = [torch.randn(length, 32, generator=dice) for length in (3, 5, 3, 5)]
    mean = torch.full((32,), 0.25)
    once, again = (DISTURBANCES[kind](queries, mean) for _ in range(2))
    for query, other, same in zip(queries, once, again, strict=True):
        assert query.shape == other.shape
        assert torch.equal(other, same)
        assert not torch.allclose(query, other)


def test_a_rotation_keeps_lengths_and_angles_about_the_mean():
    queries, mean = [torch.randn(7, 32)], torch.randn(32)
    (turned,) = DISTURBANCES["rotated"](queries, mean)
    before, after = queries[0] - mean, turned - mean
    assert torch.allclose(before @ before.T, after @ after.T, atol=1e-4)


@torch.inference_mode()
@pytest.mark.parametrize("layer", [1, 2])
def test_what_a_layer_looks_at_is_transformers_own_attention(asker, tiny_model, layer):
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(
        tiny_model, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    question = QUESTIONS[0]
    shown = [asker._look(picture, None) for picture in question.images]
    prompt = asker._plain.prompt(question.text, shown, [None] * len(shown))
    theirs = model.model.language_model(
        inputs_embeds=prompt.embedded[None], position_ids=prompt.positions[:, None], output_attentions=True
    ).attentions[layer - 1][0]
    last = max(place.stop for place in prompt.pictures)
    expected = theirs[:, last:].mean((0, 1))
    for place, mass in zip(prompt.pictures, asker._plain.looked_at(prompt, layer), strict=True):
        torch.testing.assert_close(mass, expected[place], atol=1e-5, rtol=1e-4)


def test_attention_chooses_the_budget_from_twice_as_many(asker):
    plain, probed = (
        asker.ask_varied(QUESTIONS, Condition("focus_context", 0.222), variant)
        for variant in (Variant(), Variant(probe=2))
    )
    assert [answer.retained for answer in probed] == [answer.retained for answer in plain]
    question = QUESTIONS[0]
    kept = {
        (name, ratio): asker._prompts([question], Condition("focus_context", ratio), variant, [])[0].embedded
        for name, ratio, variant in (
            ("chosen", 0.24, Variant(probe=2)),
            ("offered", 0.48, Variant()),
            ("plain", 0.24, Variant()),
        )
    }
    offered = {tuple(row.tolist()) for row in kept["offered", 0.48]}
    assert all(tuple(row.tolist()) in offered for row in kept["chosen", 0.24])
    assert not kept["chosen", 0.24].equal(kept["plain", 0.24])


def test_what_an_encoder_brings_beside_the_rows_changes_none_of_them(asker):
    (bare,), (both,) = (asker._plain.see([opened(WIDE)], taps=taps) for taps in (set(), {"attention", "merger_input"}))
    assert (bare.attention, bare.merger_input) == (None, None)
    assert torch.equal(bare.rows, both.rows)
    assert (both.attention.shape, both.merger_input.shape[:2]) == ((50,), (50, 4))


def test_a_picture_is_encoded_again_for_what_it_lacks_alone(tiny_model):
    asker = EnginelessAsker(str(tiny_model), Manner(TOKENS))
    attention, patches = (Variant(**{tap: True}).taps for tap in ("attention", "patches"))
    first = asker._look(WIDE, None, attention)
    assert asker._look(WIDE, None) is first
    both = asker._look(WIDE, None, patches)
    assert torch.equal(both.rows, first.rows)
    assert torch.equal(both.attention, first.attention)
    assert all(asker._look(WIDE, None, taps) is both for taps in (attention, patches, attention | patches))


def test_what_an_asker_brings_of_every_picture_is_there_from_the_first_look(tiny_model):
    asker = EnginelessAsker(str(tiny_model), Manner(TOKENS), {"attention"})
    assert asker._look(WIDE, None) is asker._look(WIDE, None, {"attention"})


def test_an_answer_is_the_same_alone_and_beside_others(asker):
    prompts = asker._prompts([*QUESTIONS, LATER], Condition("uniform", 0.7), Variant(), [])
    assert asker._texts(prompts) == [asker._plain.answer([prompt], TOKENS)[0] for prompt in prompts]


def test_prompts_are_filled_up_by_a_fifth_at_most(asker):
    prompts = {f"{p.visual}".encode(): p for p in asker._prompts(QUESTIONS, FULL, Variant(), [])}
    batches = [[len(prompts[key].embedded) for key in batch] for batch in answered_together(prompts)]
    assert sorted(length for batch in batches for length in batch) == sorted(len(p.embedded) for p in prompts.values())
    assert len(batches) > 1
    assert all(max(batch) <= 1.2 * min(batch) for batch in batches)


@torch.inference_mode()
def test_the_last_token_has_the_state_alone_that_it_has_among_all(asker):
    (prompt,) = asker._prompts(QUESTIONS[:1], FULL, Variant(), [])
    mask = torch.ones(1, 1, len(prompt.embedded), len(prompt.embedded), dtype=torch.bool).tril()
    language = asker._plain._model.model.language_model
    whole, alone = (
        decode(language, prompt.embedded[None], prompt.positions[:, None], mask, last_alone=last)
        for last in (False, True)
    )
    torch.testing.assert_close(alone[-1], whole[-1][:, -1:])
    assert all(map(torch.equal, alone[:-1], whole[:-1]))
