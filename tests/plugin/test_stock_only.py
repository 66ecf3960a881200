"""The gate before a real renderer whose processor is vLLM's own: an architecture that no family is for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from real_renderer import real_renderer
from sppruner_server.hooks import install_gate
from sppruner_server.request.record import recording
from sppruner_server.routes.requests import ChatRequest
from vllm.renderers.online_renderer import OnlineRenderer

from beds import build_mistral3
from serving import chat_body, data_url, png
from sppruner_vllm.api.processor import ReductionProcessorMixin

PICTURE = data_url(png(336, 336))


@pytest.fixture(scope="module")
def renderer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnlineRenderer]:
    online = real_renderer(build_mistral3(tmp_path_factory.mktemp("mistral3") / "model"))
    install_gate(online, reduces=isinstance(online.renderer.mm_processor, ReductionProcessorMixin))
    yield online
    online.renderer.shutdown()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [({}, "keep_ratio_is_1"), ({"keep_ratio": 0.25}, "unsupported_input"), ({"keep_tokens": 7}, "unsupported_input")],
)
def test_a_picture_is_rendered_whole_and_accounted_for(
    renderer: OnlineRenderer, fields: dict[str, object], reason: str
) -> None:
    with recording() as record:
        _, (engine_input,) = asyncio.run(renderer.render_chat(ChatRequest(**chat_body(PICTURE, **fields))))
    (place,) = engine_input["mm_placeholders"]["image"]
    tokens = record.visual_tokens
    assert tokens is not None
    assert (tokens.original, tokens.retained, tokens.skipped_reason) == (144, 144, reason)
    assert place.get_num_embeds() == 144, "12 lines of 12, with a break behind each"
