"""The gate before vLLM's renderer, with a renderer that only notes what reaches it."""

import asyncio
from types import SimpleNamespace

import pytest
import torch
from sppruner_server.hooks import install_gate
from sppruner_server.request.record import recording
from vllm.entrypoints.openai.responses.protocol import ResponsesRequest
from vllm.exceptions import VLLMValidationError
from vllm.multimodal.inputs import PlaceholderRange

from sppruner_vllm.errors import InvalidField
from sppruner_vllm.planning.accounting import ENGINE_INPUT_KEY, VisualTokens

TOKENS = VisualTokens(64, 32, 0.5, "uniform", None)


class Renderer:
    """Stands for vLLM's OnlineRenderer."""

    def __init__(
        self,
        *,
        trusted: bool = False,
        failure: BaseException | None = None,
        made: dict[str, object] | None = None,
        reduces: bool = True,
    ) -> None:
        self.trust_request_mm_kwargs = trusted
        self.failure = failure
        self.made = {ENGINE_INPUT_KEY: TOKENS} if made is None else made
        install_gate(self, reduces=reduces)

    async def preprocess_chat(self, request, messages, skip_mm_cache=False):
        self.skipped_cache = skip_mm_cache
        if self.failure:
            raise self.failure
        return messages, [self.made]

    async def preprocess_cmpl(self, request, prompts):
        return [{}]

    def chat(self, request):
        asyncio.run(self.preprocess_chat(request, []))
        return request.mm_processor_kwargs

    def complete(self, request):
        asyncio.run(self.preprocess_cmpl(request, []))
        return request.mm_processor_kwargs


def request(**fields: object) -> SimpleNamespace:
    return SimpleNamespace(**fields)


def test_our_fields_reach_the_processor():
    assert Renderer().chat(request(keep_ratio=0.5)) == {"keep_ratio": 0.5}


def test_a_request_without_our_fields_reaches_vllm_as_it_came():
    assert Renderer().chat(request()) is None


def test_foreign_kwargs_are_refused_as_vllm_refuses_them():
    with pytest.raises(VLLMValidationError) as caught:
        Renderer().chat(request(keep_ratio=0.5, mm_processor_kwargs={"min_pixels": 1}))
    assert caught.value.parameter == "mm_processor_kwargs"


def test_foreign_media_io_kwargs_are_refused_as_vllm_refuses_them():
    with pytest.raises(VLLMValidationError) as caught:
        Renderer().chat(request(media_io_kwargs={"image": {"image_mode": "L"}}))
    assert caught.value.parameter == "media_io_kwargs"


def test_foreign_kwargs_pass_when_the_operator_trusts_them():
    kwargs = Renderer(trusted=True).chat(request(keep_ratio=0.5, mm_processor_kwargs={"min_pixels": 1}))
    assert kwargs == {"min_pixels": 1, "keep_ratio": 0.5}


def test_a_bad_value_is_refused_on_every_endpoint_that_renders():
    with pytest.raises(InvalidField):
        Renderer().chat(request(keep_ratio=7))


def test_a_bad_value_is_refused_for_text_completions_too():
    with pytest.raises(InvalidField):
        Renderer().complete(request(keep_ratio=7))


def test_a_text_completion_takes_no_field_further():
    assert Renderer().complete(request(keep_ratio=0.5)) is None


def test_an_image_that_vllm_would_answer_with_500_is_the_clients_fault():
    renderer = Renderer(failure=RuntimeError("Cannot load local files without `--allowed-local-media-path`."))
    with pytest.raises(InvalidField) as caught:
        renderer.chat(request())
    assert caught.value.code == "image_url_forbidden"


@pytest.mark.parametrize(("limit", "error"), [(8, InvalidField), (None, AssertionError)])
def test_an_image_without_a_place_is_the_clients_fault_only_when_the_client_truncated_the_prompt(limit, error):
    renderer = Renderer(failure=AssertionError("Failed to apply prompt replacement for mm_items['image'][0]"))
    with pytest.raises(error):
        renderer.chat(request(truncate_prompt_tokens=limit))


def test_any_other_failure_stays_what_it_was():
    with pytest.raises(RuntimeError, match="out of memory"):
        Renderer(failure=RuntimeError("out of memory")).chat(request())


def test_the_account_comes_back_across_the_tasks_vllm_serves_in():
    async def serve():
        with recording() as record:
            await asyncio.create_task(Renderer().preprocess_chat(request(keep_ratio=0.5), []))
            return record.visual_tokens

    assert asyncio.run(serve()) == TOKENS


def test_a_prompt_that_is_only_counted_keeps_out_of_the_sender_cache():
    async def render(dry):
        renderer = Renderer()
        with recording() as record:
            record.dry = dry
            await renderer.preprocess_chat(request(), [], skip_mm_cache=False)
        return renderer.skipped_cache

    assert [asyncio.run(render(dry)) for dry in (False, True)] == [False, True]


def test_a_client_that_leaves_during_the_rendering_withdraws_its_images():
    withdrawn = []

    async def serve():
        with recording() as record:
            record.withdrawals.append(lambda: withdrawn.append(True))
            with pytest.raises(asyncio.CancelledError):
                await Renderer(failure=asyncio.CancelledError()).preprocess_chat(request(), [])

    asyncio.run(serve())
    assert withdrawn == [True]


def test_each_conversation_of_a_batch_is_accounted_for():
    async def serve():
        with recording() as record:
            for _ in range(2):
                await Renderer().preprocess_chat(request(), [])
            return record.accounts

    assert asyncio.run(serve()) == [TOKENS, TOKENS]


def test_a_response_whose_tools_render_it_again_is_accounted_for_once():
    async def serve():
        with recording() as record:
            for _ in range(2):
                await Renderer().preprocess_chat(ResponsesRequest(input="what"), [])
            return record.accounts

    assert asyncio.run(serve()) == [TOKENS]


def test_fields_that_a_handler_loses_are_taken_from_the_record():
    async def serve():
        rebuilt = request()
        with recording() as record:
            record.fields = {"keep_ratio": 0.5}
            await Renderer().preprocess_chat(rebuilt, [])
        return rebuilt.mm_processor_kwargs

    assert asyncio.run(serve()) == {"keep_ratio": 0.5}


@pytest.mark.parametrize(
    ("fields", "ratio", "reason"), [({}, 1.0, "keep_ratio_is_1"), ({"keep_ratio": 0.5}, 0.5, "unsupported_input")]
)
def test_a_processor_that_is_not_ours_gets_no_field_and_all_its_tokens_are_accounted_for(fields, ratio, reason):
    places = {"image": [PlaceholderRange(3, 10), PlaceholderRange(20, 6, torch.tensor([0, 1, 1, 1, 1, 0]).bool())]}
    renderer = Renderer(made={"mm_placeholders": places}, reduces=False)

    async def serve():
        asked = request(**fields)
        with recording() as record:
            await renderer.preprocess_chat(asked, [])
            return asked.mm_processor_kwargs, record.visual_tokens

    kwargs, tokens = asyncio.run(serve())
    assert kwargs is None
    assert (tokens.original, tokens.retained, tokens.keep_ratio, tokens.skipped_reason) == (14, 14, ratio, reason)


def test_foreign_kwargs_pass_to_a_processor_that_is_not_ours_where_they_are_trusted():
    renderer = Renderer(made={}, trusted=True, reduces=False)
    assert renderer.chat(request(keep_ratio=0.5, mm_processor_kwargs={"min_pixels": 1})) == {"min_pixels": 1}
