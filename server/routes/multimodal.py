"""Our routes: vLLM's own handlers behind the admission of the reduction fields, their answers completed.

vLLM replaces its routes of the same path by these (plugins/endpoint_plugins/interface.py).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final
from uuid import uuid4

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from vllm.entrypoints.anthropic import api_router as messages_api
from vllm.entrypoints.openai.chat_completion import api_router as chat_api
from vllm.entrypoints.openai.responses import api_router as responses_api

from sppruner_vllm.admission import admit
from sppruner_vllm.request.handed_over import Telling

from ..body.fields import reduction_fields
from ..keys.current import limits_in_force
from ..request.record import RequestRecord, current_record
from ..tracing import VALIDATE, stage
from .answers import CHAT, NO_USAGE, RESPONSES, Usage, complete
from .outcomes import RecordedRoute
from .replacing import declared
from .requests import BatchRequest, ChatRequest, CountTokensRequest, MessagesRequest, ResponseRequest
from .selection import asks_for_selection, settle

router: Final = APIRouter(route_class=RecordedRoute)

Handler = Callable[..., Awaitable[Any]]


@router.post(**declared(chat_api.router, "/v1/chat/completions"))
async def chat_completions(request: ChatRequest, raw_request: Request) -> Response | None:
    """OpenAI's chat completions, with reduction fields, and what was kept where a request includes it."""
    if asks_for_selection(request) and (record := current_record()) is not None:
        record.telling = Telling(uuid4().hex)
    return await _serve(chat_api.create_chat_completion, request, raw_request, CHAT)


@router.post(**declared(chat_api.router, "/v1/chat/completions/batch"))
async def batch(request: BatchRequest, raw_request: Request) -> Response | None:
    """vLLM's batch of chat completions, with reduction fields; its conversations are summed."""
    return await _serve(chat_api.create_batch_chat_completion, request, raw_request, CHAT)


@router.post(**declared(responses_api.router, "/v1/responses"))
async def responses(request: ResponseRequest, raw_request: Request) -> Response | None:
    """OpenAI's responses, with reduction fields."""
    return await _serve(responses_api.create_responses, request, raw_request, RESPONSES)


@router.post(**declared(messages_api.router, "/v1/messages"))
async def messages(request: MessagesRequest, raw_request: Request) -> Response | None:
    """Anthropic's messages, with reduction fields; the account is in the headers alone."""
    return await _serve(messages_api.create_messages, request, raw_request, NO_USAGE)


@router.post(**declared(messages_api.router, "/v1/messages/count_tokens"))
async def count_tokens(request: CountTokensRequest, raw_request: Request) -> Response | None:
    """Anthropic's token count, of the reduced prompt."""
    return await _serve(messages_api.count_tokens, request, raw_request, NO_USAGE, dry=True)


async def _serve(
    handler: Handler, request: Any, raw_request: Request, usage: Usage, *, dry: bool = False
) -> Response | None:
    """Admit the reduction fields before anything else happens, then let vLLM serve the request.

    Raises:
        InvalidField: a reduction field has a value we refuse.
    """
    record = current_record() or RequestRecord()
    record.dry = dry
    with stage(VALIDATE):
        record.fields = admit(reduction_fields(request), limits_in_force())
    response = await handler(request, raw_request)
    served = isinstance(response, JSONResponse) and response.status_code < HTTPStatus.BAD_REQUEST
    if served and record.telling is not None:
        await settle(record, "answer")
    return complete(response, record, usage)
