"""Prompts of a model whose pictures stand between marks: what is kept is cut from the rows, and the marks stay."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from PIL import Image
from real_renderer import real_renderer
from sppruner_server.hooks import install_gate
from sppruner_server.request.record import recording
from sppruner_server.routes.requests import ChatRequest
from vllm.multimodal.processing.context import TimingContext
from vllm.multimodal.processing.inputs import ProcessorInputs
from vllm.renderers.online_renderer import OnlineRenderer

from beds import BEDS
from serving import chat_body, data_url, png
from sppruner_vllm.wire import decode_item

SQUARE, WIDE = data_url(png(336, 336)), data_url(png(504, 252))
"""180 and 324 visual tokens."""


PIXELS = {"internvl": "pixel_values", "internvl_chat": "pixel_values_flat"}
"""Name of the encoder's input, by format."""


@pytest.fixture(scope="module", params=PIXELS)
def form(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def renderer(form: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnlineRenderer]:
    online = real_renderer(BEDS[form].build(tmp_path_factory.mktemp(form) / "model"))
    install_gate(online, reduces=True)
    yield online
    online.renderer.shutdown()


@pytest.mark.parametrize(
    ("fields", "kept"),
    [({}, [180, 324]), ({"keep_ratio": 0.222}, [40, 72]), ({"keep_tokens": 200}, [180, 200])],
)
def test_of_each_picture_its_rows_are_cut_and_its_marks_stay(
    renderer: OnlineRenderer, fields: dict[str, object], kept: list[int]
) -> None:
    with recording() as record:
        body = chat_body(SQUARE, WIDE, **fields)
        _, (engine_input,) = asyncio.run(renderer.render_chat(ChatRequest(**body)))
    places, ids = engine_input["mm_placeholders"]["image"], engine_input["prompt_token_ids"]
    vocabulary = renderer.renderer.get_tokenizer().get_vocab()
    opens, closes, row = (vocabulary[mark] for mark in ("<img>", "</img>", "<IMG_CONTEXT>"))
    assert [place.get_num_embeds() for place in places] == kept
    for place, rows in zip(places, kept, strict=True):
        assert ids[place.offset : place.offset + place.length] == [opens, *[row] * rows, closes]
    assert record.visual_tokens is not None
    assert (record.visual_tokens.original, record.visual_tokens.retained) == (504, sum(kept))


def test_the_worker_is_told_how_the_tiles_lie(form: str, renderer: OnlineRenderer) -> None:
    with recording():
        body = chat_body(SQUARE, WIDE, keep_ratio=0.5)
        _, (engine_input,) = asyncio.run(renderer.render_chat(ChatRequest(**body)))
    items = engine_input["mm_kwargs"]["image"]
    assert [item["sppruner_tiles"].data.tolist() for item in items] == [[2, 2], [2, 4]]
    assert [len(item[PIXELS[form]].data) for item in items] == [5, 9]
    orders = [decode_item(item) for item in items]
    assert [(order.encoded, order.placed) for order in orders if order is not None] == [(180, 90), (324, 162)]


TYPED = "is <image> or <IMG_CONTEXT> here"


def test_what_a_client_types_is_no_place_of_a_picture(renderer: OnlineRenderer) -> None:
    tokenizer = renderer.renderer.get_tokenizer()
    with recording():
        body = chat_body(SQUARE, keep_ratio=0.222, text=TYPED)
        _, (engine_input,) = asyncio.run(renderer.render_chat(ChatRequest(**body)))
    (place,), ids = engine_input["mm_placeholders"]["image"], engine_input["prompt_token_ids"]
    assert place.get_num_embeds() == ids.count(tokenizer.get_vocab()["<IMG_CONTEXT>"]) == 40
    assert TYPED in tokenizer.decode(ids[place.offset + place.length :])


@pytest.mark.parametrize("said", ["<image>", "<IMG_CONTEXT>"])
def test_a_prompt_may_say_where_a_picture_stands(form: str, renderer: OnlineRenderer, said: str) -> None:
    """As text in the original format, which no tokenizer knows as one token."""
    if form == "internvl" and said == "<image>":
        return
    processor = renderer.renderer.get_mm_processor()
    tokenizer = renderer.renderer.get_tokenizer()
    prompt = tokenizer.encode(f"before {said}\nbehind", add_special_tokens=False)
    items = processor.info.parse_mm_data({"image": [Image.new("RGB", (336, 336))]})
    output = processor.apply(
        ProcessorInputs(prompt, items, hf_processor_mm_kwargs={"keep_ratio": 0.5}), TimingContext()
    )
    marks = "<img>" + 90 * "<IMG_CONTEXT>" + "</img>"
    assert tokenizer.decode(output["prompt_token_ids"]) == f"before {marks}\nbehind"
    assert [place.get_num_embeds() for place in output["mm_placeholders"]["image"]] == [90]
