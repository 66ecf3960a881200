"""Questions read by the first layers of the language model, held against the hidden states of transformers.

test_switches.py asks whole engines with it on: stock at ratio 1, transformers below, company, chunks, compilation.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from cases import REDUCED
from engines import TOKENS, ask, operated_with, start_engine
from recording import recorded_selections
from reference import Reference
from sppruner_vllm.errors import UnsupportedSetup
from sppruner_vllm.families.decoder_layers import text_layers
from sppruner_vllm.reading.captions import CAPTIONS, USUAL_DEPTH, layers_read
from sppruner_vllm.reading.token_table import TokenTable
from sppruner_vllm.state_table import build
from sppruner_vllm.worker.middle_states import MiddleStates
from sppruner_vllm.worker.questions import TableStates, WordEmbeddings
from sppruner_vllm.worker.reading import reader_of
from sppruner_vllm.worker.selecting import Selector

DEPTH = 0.5
RATIO = 0.222
TEXTS = ("what is the colour of the cat", "how many", "a", "where is the small sign on the left of the house " * 4)


@pytest.fixture(scope="module")
def questions(reference: Reference) -> list[Tensor]:
    return [torch.tensor(reference.processor.tokenizer.encode(text, add_special_tokens=False)) for text in TEXTS]


@pytest.fixture
def reader(llm: Any, model: Any) -> MiddleStates:
    with operated_with(QUESTION_DEPTH=str(DEPTH)):
        made = reader_of(model, WordEmbeddings(model), model.family, llm.model_config)()
    assert isinstance(made, MiddleStates)
    return made


@torch.inference_mode()
def expected(reference: Reference, question: Tensor, lead: tuple[int, ...]) -> Tensor:
    """(T, D) hidden states of transformers behind the same layers, the lead cut off."""
    language = reference.model.model.language_model
    ids = torch.cat((torch.tensor(lead), question)).unsqueeze(0)
    states = language(input_ids=ids, use_cache=False, output_hidden_states=True).hidden_states
    return states[layers_read(DEPTH, len(language.layers))][0, len(lead) :]


@pytest.mark.parametrize("together", [False, True])
def test_states_are_those_of_transformers(
    reader: MiddleStates, model: Any, reference: Reference, questions: list[Tensor], together: bool
) -> None:
    with torch.inference_mode():
        found = reader.states(questions, together=together)
    for states, question in zip(found, questions, strict=True):
        wanted = expected(reference, question, model.family.lead)
        assert states.dtype == torch.float32
        assert states.shape == wanted.shape
        assert (states - wanted).norm() < 1e-4 * wanted.norm()


def test_the_mean_is_that_of_the_captions_words(reader: MiddleStates, model: Any, reference: Reference) -> None:
    encode = reference.processor.tokenizer.encode
    captions = [torch.tensor(encode(text, add_special_tokens=False)) for text in CAPTIONS]
    wanted = torch.cat([expected(reference, caption, model.family.lead) for caption in captions]).mean(0)
    with torch.inference_mode():
        mean = reader.mean(torch.device("cpu"))
    assert (mean - wanted).norm() < 1e-4 * wanted.norm()


@torch.inference_mode()
def test_company_changes_no_bit_of_a_question(reader: MiddleStates, questions: list[Tensor]) -> None:
    together = reader.read(questions, [""] * len(questions))
    for states, question in zip(together, questions, strict=True):
        (alone,) = reader.read([question], [""])
        assert states is not None
        assert alone is not None
        assert torch.equal(states, alone)


@pytest.fixture
def read(reader: MiddleStates, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Questions in each reading, in order."""
    readings: list[int] = []
    states = reader.states

    def counting(texts: list[Tensor]) -> list[Tensor]:
        readings.append(len(texts))
        return states(texts)

    monkeypatch.setattr(reader, "states", counting)
    return readings


@torch.inference_mode()
def test_a_question_is_read_once_until_the_weights_change(
    reader: MiddleStates, questions: list[Tensor], read: list[int]
) -> None:
    first, second, *_ = questions
    nothing = torch.empty(0, dtype=torch.int64)
    one, none, same = reader.read([first, nothing, first], ["first", "", "first"])
    assert none is None
    assert one is same
    again, other = reader.read([first, second], ["first", "second"])
    assert torch.equal(one, again)
    assert other is not None
    assert read == [1, 1]
    reader.read([first, second], ["first", "second"])
    assert read == [1, 1]
    reader.forget()
    reader.read([first], ["first"])
    assert read == [1, 1, 1]


@torch.inference_mode()
def test_what_is_kept_is_bounded_and_the_oldest_goes_first(
    reader: MiddleStates, questions: list[Tensor], read: list[int]
) -> None:
    width = reader.mean(torch.device("cpu")).numel() * 4
    read.clear()
    reader._kept = type(reader._kept)(width * (len(questions[0]) + len(questions[1])), reader._kept.getsizeof)
    names = ["first", "second", "third"]
    for question, name in zip(questions, names, strict=False):
        reader.read([question], [name])
    assert reader._kept.currsize <= reader._kept.maxsize
    reader.read([questions[1], questions[2]], ["second", "third"])
    assert read == [1, 1, 1]
    reader.read([questions[0]], ["first"])
    assert read == [1, 1, 1, 1]


def test_it_changes_what_is_kept_and_no_cache_mixes_the_two(llm: Any) -> None:
    case, ungated = REDUCED[0], {"reduction_method": "relevance"}
    llm.reset_prefix_cache()
    with recorded_selections() as words:
        (plain,) = ask(llm, [case], RATIO, **ungated)
    with operated_with(QUESTION_DEPTH=str(DEPTH)), recorded_selections() as states:
        (read,) = ask(llm, [case], RATIO, **ungated)
        (again,) = ask(llm, [case], RATIO, **ungated)
    (back,) = ask(llm, [case], RATIO, **ungated)
    assert len(words) == len(states) == 1
    assert words != states
    assert read.prompt == plain.prompt
    assert read.cached < again.cached == back.cached
    assert (again.tokens, back.tokens) == (read.tokens, plain.tokens)


def test_as_shipped_the_words_and_what_is_read_in_them_are_heard(
    llm: Any, model: Any, reference: Reference, questions: list[Tensor]
) -> None:
    """By `focus_context`; a method that hears one of the two hears the words."""
    question = questions[0]
    both, words = model._selector.asked([question] * 2, ["focus_context", "relevance"])
    embedded = model.get_language_model().embed_input_ids(question)
    assert both.keys() == {"query", "states"}
    assert words.keys() == {"query"}
    assert torch.equal(both["query"], embedded)
    assert torch.equal(words["query"], embedded)
    language = reference.model.model.language_model
    layers, lead = layers_read(USUAL_DEPTH, len(language.layers)), model.family.lead
    ids = torch.cat((torch.tensor(lead), question)).unsqueeze(0)
    with torch.inference_mode():
        states = language(input_ids=ids, use_cache=False, output_hidden_states=True).hidden_states[layers]
        mean = model._selector._reader().mean(torch.device("cpu"))
    wanted = states[0, len(lead) :] - mean
    assert (both["states"] - wanted).norm() < 1e-4 * wanted.norm()


def test_by_its_words_alone_nothing_is_read(
    model: Any, questions: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MiddleStates, "states", lambda *_: pytest.fail("a question was read"))
    with operated_with(QUESTION_DEPTH="0"):
        (asked,) = model._selector.asked(questions[:1], ["focus_context"])
    assert asked.keys() == {"query"}


def test_layers_of_another_kind_leave_the_words_where_nobody_asked_for_them(model: Any, llm: Any) -> None:
    words = WordEmbeddings(model)
    family = SimpleNamespace(reduces=True, text_layers=lambda _: None)
    assert reader_of(model, words, family, llm.model_config)() is words


def test_a_reading_that_fails_before_anything_is_served_leaves_the_words(
    llm: Any, model: Any, questions: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("a kernel is missing")

    monkeypatch.setattr(MiddleStates, "states", fail)
    words = WordEmbeddings(model)
    made = reader_of(model, words, model.family, llm.model_config)
    selector = Selector(words, made)
    assert selector.reads("focus_context")
    assert selector.rehearsed(questions[0], "focus_context").keys() == {"query"}
    assert not selector.reads("focus_context")
    with operated_with(QUESTION_DEPTH=str(DEPTH)), pytest.raises(RuntimeError, match="kernel"):
        Selector(words, made).rehearsed(questions[0], "focus_context")


def test_a_step_without_need_reads_nothing(llm: Any, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise AssertionError("a question was read")

    monkeypatch.setattr(MiddleStates, "states", refuse)
    llm.reset_prefix_cache()
    with operated_with(QUESTION_DEPTH="0"):
        ask(llm, [REDUCED[0]], RATIO)
    ask(llm, [REDUCED[0]], 1.0)
    with operated_with(QUESTION_DEPTH=str(DEPTH)):
        ask(llm, [REDUCED[0]], 1.0)
        ask(llm, [REDUCED[0]], RATIO, reduction_method="maxmin")


def test_adapters_are_left_out(model: Any, questions: list[Tensor], reader: MiddleStates) -> None:
    """What LoRA wraps is found inside the wrapper: called as it is, it would count the tokens of another batch."""

    class Wrapper(torch.nn.Module):
        def __init__(self, base_layer: torch.nn.Module) -> None:
            super().__init__()
            self.base_layer = base_layer

        def forward(self, *_: Any) -> Any:
            raise AssertionError("the wrapper was called")

    with torch.inference_mode():
        (plain,) = reader.states(questions[:1])
    language = model.get_language_model()
    wrapped = [(language.model, "embed_tokens")]
    for layer in language.model.layers:
        wrapped += [(layer.self_attn, "qkv_proj"), (layer.self_attn, "o_proj")]
        wrapped += [(layer.mlp, "gate_up_proj"), (layer.mlp, "down_proj")]
    originals = [getattr(owner, name) for owner, name in wrapped]
    try:
        for (owner, name), original in zip(wrapped, originals, strict=True):
            setattr(owner, name, Wrapper(original))
        with torch.inference_mode():
            (adapted,) = reader.states(questions[:1])
    finally:
        for (owner, name), original in zip(wrapped, originals, strict=True):
            setattr(owner, name, original)
    assert torch.equal(plain, adapted)


def test_layers_of_another_kind_are_refused_with_a_way_out(model: Any, llm: Any) -> None:
    class Other(torch.nn.Module):
        pass

    language = SimpleNamespace(model=SimpleNamespace(layers=[Other()]))
    assert text_layers(language) is None
    family = SimpleNamespace(reduces=True, text_layers=lambda _: None)
    with operated_with(QUESTION_DEPTH="0.5"), pytest.raises(UnsupportedSetup, match="SPPRUNER_STATE_TABLE"):
        reader_of(model, WordEmbeddings(model), family, llm.model_config)()


# The table


@pytest.fixture(scope="module")
def table(tiny_model: Path) -> TokenTable:
    return build(str(tiny_model), DEPTH, batch=500)


@pytest.fixture(scope="module")
def file(table: TokenTable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    written = tmp_path_factory.mktemp("table") / "states.safetensors"
    table.save(written)
    return written


def test_the_table_holds_the_state_of_each_token_alone(
    table: TokenTable, model: Any, reference: Reference, questions: list[Tensor]
) -> None:
    assert table.states.shape == (model.get_language_model().config.vocab_size, 256)
    for token in questions[0]:
        (wanted,) = expected(reference, token[None], model.family.lead)
        assert (table.states[token].float() - wanted).norm() < 0.01 * wanted.norm()  # bfloat16


@torch.inference_mode()
def test_an_engine_steers_by_the_table(
    llm: Any, model: Any, table: TokenTable, file: Path, questions: list[Tensor]
) -> None:
    with operated_with(STATE_TABLE=str(file)):
        made = model._selector._reader()
        found = made.read(questions, [""] * len(questions))
        with recorded_selections() as kept:
            ask(llm, [REDUCED[0]], RATIO)
    assert isinstance(made, TableStates)
    assert len(kept) == 1
    assert torch.equal(made.mean(torch.device("cpu")), table.mean)
    for states, question in zip(found, questions, strict=True):
        assert states is not None
        assert torch.equal(states, table.states[question])


@torch.inference_mode()
def test_a_table_of_another_checkpoint_is_refused(
    model: Any, table: TokenTable, questions: list[Tensor], tmp_path: Path
) -> None:
    other, short, none = (tmp_path / name for name in ("other", "short", "none"))
    replace(table, probes=table.probes.roll(1, 0)).save(other)
    replace(table, states=table.states[:-1]).save(short)
    none.write_text("no table")
    with pytest.raises(UnsupportedSetup, match="another checkpoint"):
        TableStates(model, other).read(questions, [""] * len(questions))
    with pytest.raises(UnsupportedSetup, match="another checkpoint"):
        TableStates(model, short)
    with pytest.raises(UnsupportedSetup, match="SPPRUNER_STATE_TABLE"):
        TableStates(model, none)


# An adapter


@pytest.fixture(scope="module")
def adapter(tiny_model: Path, reference: Reference, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random, and large enough to change any answer."""
    folder, dice, rank = tmp_path_factory.mktemp("adapter"), torch.Generator().manual_seed(0), 8
    names = ("self_attn.q_proj", "self_attn.o_proj", "mlp.down_proj")
    weights = {}
    for number, layer in enumerate(reference.model.model.language_model.layers):
        for name in names:
            wide, narrow = layer.get_submodule(name).weight.shape
            place = f"base_model.model.model.language_model.layers.{number}.{name}"
            weights[f"{place}.lora_A.weight"] = torch.randn(rank, narrow, generator=dice)
            weights[f"{place}.lora_B.weight"] = torch.randn(wide, rank, generator=dice)
    save_file(weights, folder / "adapter_model.safetensors")
    modules = [name.split(".")[1] for name in names]
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": rank, "target_modules": modules, "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def test_with_an_adapter_the_base_model_reads_the_question(tiny_model: Path, llm: Any, adapter: Path) -> None:
    from vllm import SamplingParams
    from vllm.lora.request import LoRARequest

    case = REDUCED[0]
    adapted = start_engine(tiny_model, enable_lora=True, max_lora_rank=8, max_loras=1)
    sampling = SamplingParams(max_tokens=TOKENS, temperature=0, ignore_eos=True)
    llm.reset_prefix_cache()
    with operated_with(QUESTION_DEPTH=str(DEPTH)):
        with recorded_selections() as plain:
            (base,) = ask(llm, [case], RATIO)
        with recorded_selections() as kept:
            (output,) = adapted.chat(
                case.messages(),
                sampling,
                use_tqdm=False,
                lora_request=LoRARequest("adapter", 1, str(adapter)),
                mm_processor_kwargs={"keep_ratio": RATIO},
            )
    assert len(plain) == 1
    assert kept == plain
    assert list(output.outputs[0].token_ids) != base.tokens
