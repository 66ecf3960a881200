"""The model's own promises: counts, micro-batches, start-up checks, paths that would bypass the reduction."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from cases import SQUARE, Case, picture
from engines import ask, orders
from sppruner_vllm.errors import RowCountError, UnsupportedSetup
from sppruner_vllm.settings import Settings
from sppruner_vllm.worker import startup as gate
from sppruner_vllm.worker.micro_batches import micro_batches
from sppruner_vllm.worker.startup import check_setup


@pytest.fixture(scope="module")
def processor(llm: Any) -> Any:
    return llm.llm_engine.input_processor.renderer.get_mm_processor()


def encoder_inputs(processor: Any, sizes: list[tuple[int, int]], keep: list[int]) -> dict[str, Any]:
    images = [picture(size, seed) for seed, size in enumerate(sizes)]
    inputs = processor.info.get_hf_processor().image_processor(images, return_tensors="pt")
    return {
        **inputs,
        **orders(
            [width * height // 784 for width, height in sizes],
            keep,
            [torch.tensor([300, 301]), *(torch.empty(0, dtype=torch.int64) for _ in keep[1:])],
        ),
    }


def test_a_1008_pixel_square_is_1296_rows_and_288_at_two_ninths(model: Any, processor: Any) -> None:
    with torch.inference_mode():
        (full,) = model.embed_multimodal(**encoder_inputs(processor, [(1008, 1008)], [1296]))
        (reduced,) = model.embed_multimodal(**encoder_inputs(processor, [(1008, 1008)], [288]))
    assert full.shape == (1296, 256)
    assert reduced.shape[0] == 288
    rows = {row.numpy().tobytes(): index for index, row in enumerate(full)}
    places = [rows.get(row.numpy().tobytes(), -1) for row in reduced[:, :256]]
    assert len(rows) == 1296
    assert min(places) >= 0, "kept rows are bit-exact copies"
    assert places == sorted(set(places)), "in raster order, none twice"


def test_more_rows_than_planned_are_refused_by_name(model: Any, processor: Any) -> None:
    inputs = encoder_inputs(processor, [(112, 112)], [17])
    with pytest.raises(RowCountError, match="17 placeholders but 16 rows"), torch.inference_mode():
        model.embed_multimodal(**inputs)


def test_micro_batches_change_no_row(model: Any, processor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = encoder_inputs(processor, [(336, 336), (112, 224), (280, 112), (56, 56)], [20, 32, 10, 2])
    calls: list[int] = []
    visual = type(model.visual).forward

    def counting(self: Any, *args: Any, **kwargs: Any) -> Any:
        out = visual(self, *args, **kwargs)
        calls.append(out.shape[0])
        return out

    monkeypatch.setattr(type(model.visual), "forward", counting)
    with torch.inference_mode():
        whole = model.embed_multimodal(**dict(inputs))
        monkeypatch.setattr(model, "_encoder_budget", 80)
        pieces = model.embed_multimodal(**dict(inputs))
    assert calls == [144 + 32 + 40 + 4, 144, 76]
    assert [rows.shape[0] for rows in pieces] == [20, 32, 10, 2]
    for one, other in zip(whole, pieces, strict=True):
        assert torch.equal(one[:, 256:], other[:, 256:])
        assert torch.allclose(one, other, atol=1e-4)


def test_dropped_rows_are_not_kept_alive(model: Any, processor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = encoder_inputs(processor, [(336, 336), (112, 112), (336, 336)], [2, 16, 144])
    alive: list[int] = []
    reduce_batch = model._reduce_batch

    def watching(rows: list[torch.Tensor], *args: Any, **others: Any) -> Any:
        alive.append(sum(image.shape[0] for image in rows))
        return reduce_batch(rows, *args, **others)

    monkeypatch.setattr(model, "_reduce_batch", watching)
    monkeypatch.setattr(model, "_encoder_budget", 160)
    with torch.inference_mode():
        outputs = model.embed_multimodal(**inputs)
    assert alive == [160, 144], "each micro-batch is reduced before the next one is encoded"
    stored = [rows.untyped_storage().nbytes() // rows.element_size() // rows.shape[1] for rows in outputs]
    assert stored == [2, 16, 144], "an unreduced image does not hold its batch mates' rows"


@pytest.mark.parametrize(
    ("sizes", "budget", "cuts"),
    [([5, 5, 5], 10, [2, 1]), ([20], 10, [1]), ([4, 20, 4], 10, [1, 1, 1]), ([1] * 5, 100, [5])],
)
def test_micro_batches_hold_to_the_budget(sizes: list[int], budget: int, cuts: list[int]) -> None:
    assert [part.stop - part.start for part in micro_batches(sizes, budget)] == cuts


def test_lora_counts_are_those_of_the_unreduced_image(model: Any) -> None:
    item = {"image_grid_thw": SimpleNamespace(data=torch.tensor([1, 72, 72]))}
    assert model.get_mm_lora_token_counts(modality="image", mm_kwargs=item, num_mm_embeds=288) == (5184, 1296)
    assert model.get_mm_lora_token_counts(modality="image", mm_kwargs=None, num_mm_embeds=288) == (1152, 288)


def test_positions_are_asked_for_only_in_steps_that_hold_a_picture(
    llm: Any, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook, asked = model.recompute_mrope_positions, []

    def counted(**given: Any) -> Any:
        asked.append(len(given["multimodal_embeddings"]))
        return hook(**given)

    monkeypatch.setattr(model, "recompute_mrope_positions", counted)
    (answer,) = ask(llm, [Case((("where is it", (SQUARE,)),), 71)], 0.5, tokens=8)
    assert len(answer.tokens) == 8
    assert asked == [1]


def test_encoder_cuda_graphs_are_offered_for_no_modality(model: Any) -> None:
    assert model.get_encoder_cudagraph_config().modalities == []


def setup(stages: int = 1, pruning: float | None = None, prompt_embeds: bool = False) -> Any:
    return SimpleNamespace(
        parallel_config=SimpleNamespace(pipeline_parallel_size=stages),
        model_config=SimpleNamespace(
            multimodal_config=SimpleNamespace(video_pruning_rate=pruning), enable_prompt_embeds=prompt_embeds
        ),
        lora_config=SimpleNamespace(enable_tower_connector_lora=True),
    )


@pytest.mark.parametrize(
    ("config", "option"),
    [
        (setup(stages=2), "--pipeline-parallel-size"),
        (setup(pruning=0.5), "--video-pruning-rate"),
        (setup(prompt_embeds=True), "--enable-prompt-embeds"),
    ],
)
def test_options_that_would_break_positions_or_counts_are_refused(config: Any, option: str) -> None:
    with pytest.raises(UnsupportedSetup, match=option):
        check_setup(config)


def test_usual_options_are_accepted() -> None:
    check_setup(setup())


@pytest.mark.parametrize("method", ["downscale", "hybrid", "uniform"])
def test_every_method_may_be_the_operators_default(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    monkeypatch.setenv("SPPRUNER_METHOD", method)
    monkeypatch.setattr(gate, "settings", Settings)
    check_setup(SimpleNamespace(**{**vars(setup()), "lora_config": None}))


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [("MIN_KEEP_RATIO", "0", "--enable-tower-connector-lora"), ("METHOD", "typo", "SPPRUNER_METHOD=typo")],
)
def test_settings_that_cannot_work_are_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, reason: str
) -> None:
    monkeypatch.setenv(f"SPPRUNER_{name}", value)
    monkeypatch.setattr(gate, "settings", Settings)
    with pytest.raises(UnsupportedSetup, match=reason):
        check_setup(setup())


def cutting(monkeypatch: pytest.MonkeyPatch, block: int | None) -> Any:
    """The usual options with a cut, without a LoRA."""
    monkeypatch.setenv("SPPRUNER_ENCODER_CUT", "2")
    return shortened(monkeypatch, block)


def shortened(monkeypatch: pytest.MonkeyPatch, block: int | None = None) -> Any:
    """The usual options as an encoder wants them that not all tokens go through, without a LoRA."""
    if block is not None:
        monkeypatch.setenv("SPPRUNER_ENCODER_CUT_BLOCK", str(block))
    monkeypatch.setattr(gate, "settings", Settings)
    usual = vars(setup()) | {"lora_config": None, "compilation_config": SimpleNamespace(compile_mm_encoder=False)}
    usual["parallel_config"].tensor_parallel_size = 2
    usual["model_config"].multimodal_config.mm_encoder_tp_mode = "weights"
    return SimpleNamespace(**usual)


def test_a_cut_is_accepted_behind_a_block_that_is_there(monkeypatch: pytest.MonkeyPatch, model: Any) -> None:
    check_setup(cutting(monkeypatch, 1), cut=model.family.cut)


@pytest.mark.parametrize("block", [None, 2])
def test_a_cut_that_would_leave_no_block_out_is_refused(
    monkeypatch: pytest.MonkeyPatch, model: Any, block: int | None
) -> None:
    with pytest.raises(UnsupportedSetup, match="0 to 1"):
        check_setup(cutting(monkeypatch, block), cut=model.family.cut)


@pytest.mark.parametrize(("name", "value"), [("ENCODER_CUT", "2"), ("SKIP_REPEATS", "1")])
def test_what_cannot_be_left_out_of_the_encoder_is_refused(
    monkeypatch: pytest.MonkeyPatch, model: Any, name: str, value: str
) -> None:
    monkeypatch.setenv(f"SPPRUNER_{name}", value)
    config, cut = shortened(monkeypatch, 1), model.family.cut
    check_setup(config, cut=cut)
    with pytest.raises(UnsupportedSetup, match=f"SPPRUNER_{name}: .* this model's encoder"):
        check_setup(config)
    config.compilation_config.compile_mm_encoder = True
    with pytest.raises(UnsupportedSetup, match="compile_mm_encoder"):
        check_setup(config, cut=cut)
    config.compilation_config.compile_mm_encoder = False
    config.lora_config = SimpleNamespace(enable_tower_connector_lora=True)
    with pytest.raises(UnsupportedSetup, match="--enable-tower-connector-lora"):
        check_setup(config, cut=cut)
    config.model_config.multimodal_config.mm_encoder_tp_mode = "data"
    with pytest.raises(UnsupportedSetup, match="--mm-encoder-tp-mode"):
        check_setup(config, cut=cut)
