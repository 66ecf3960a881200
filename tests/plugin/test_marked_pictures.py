"""Prompts of a model whose pictures stand between marks: what is kept is cut from the rows, and the marks stay."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from real_renderer import real_renderer
from sppruner_server.hooks import install_gate
from sppruner_server.request.record import recording
from sppruner_server.routes.requests import ChatRequest
from vllm.renderers.online_renderer import OnlineRenderer

from beds import BEDS
from serving import chat_body, data_url, png
from sppruner_vllm.wire import decode_item

SQUARE, WIDE = data_url(png(336, 336)), data_url(png(504, 252))
"""180 and 324 visual tokens."""


@pytest.fixture(scope="module")
def renderer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnlineRenderer]:
    online = real_renderer(BEDS["internvl"].build(tmp_path_factory.mktemp("internvl") / "model"))
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


def test_the_worker_is_told_how_the_tiles_lie(renderer: OnlineRenderer) -> None:
    with recording():
        body = chat_body(SQUARE, WIDE, keep_ratio=0.5)
        _, (engine_input,) = asyncio.run(renderer.render_chat(ChatRequest(**body)))
    items = engine_input["mm_kwargs"]["image"]
    assert [item["sppruner_tiles"].data.tolist() for item in items] == [[2, 2], [2, 4]]
    assert [len(item["pixel_values"].data) for item in items] == [5, 9]
    orders = [decode_item(item) for item in items]
    assert [(order.encoded, order.placed) for order in orders if order is not None] == [(180, 90), (324, 162)]
