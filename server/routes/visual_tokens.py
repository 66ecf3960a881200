"""`POST /v1/visual-tokens`: which visual tokens a chat request keeps, and why, at the price of its prefill.

The request goes the way of any chat, so that the selection is the one that a worker makes for it. One token is sampled
and thrown away; nothing is decoded.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final
from uuid import uuid4

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import JSONResponse, Response
from vllm.entrypoints.openai.chat_completion import api_router as chat_api

from sppruner_vllm.admission import admit
from sppruner_vllm.compat.versions import is_client_gone
from sppruner_vllm.errors import InvalidField
from sppruner_vllm.planning.accounting import VIDEOS
from sppruner_vllm.request.handed_over import Telling

from ..body.content.document import CHAT, VISUAL_TOKENS
from ..body.fields import SELECTION, reduction_fields
from ..headers import headers_of
from ..keys.current import limits_in_force
from ..request.record import RequestRecord, current_record
from ..tracing import VALIDATE, stage
from .outcomes import RecordedRoute
from .overlay import as_png
from .replacing import declared
from .requests import ChatRequest
from .selection import includes_selection, kv_bytes_of, settle

FORMAT: Final = "format"
FORMATS: Final = ("json", "png")

LOST: Final = "too many selections are asked for at once; send the request again"

router: Final = APIRouter(route_class=RecordedRoute)


@router.post(VISUAL_TOKENS, dependencies=declared(chat_api.router, CHAT)["dependencies"], response_model=None)
async def visual_tokens(request: ChatRequest, raw_request: Request) -> Response | None:
    """Of a chat request: what is kept of each picture and video. Fields about the answer have no effect.

    Raises:
        InvalidField: a reduction field, or the format, has a value we refuse.
        HTTPException: the workers could not remember the selection.
    """
    record = current_record() or RequestRecord()
    with stage(VALIDATE):
        shown = _format_of(request, raw_request)
        includes_selection(request)
        record.fields = admit(reduction_fields(request), limits_in_force())
    record.telling = Telling(uuid4().hex)
    began = time.perf_counter()
    answer = await chat_api.create_chat_completion(prefill_of(request), raw_request)
    if answer is None or is_client_gone(answer):
        record.outcome = "client_disconnect"
        return None
    if not isinstance(answer, JSONResponse) or answer.status_code >= 400:
        return answer  # type: ignore[no-any-return]
    await settle(record, "endpoint")
    pictures, account = record.selection or [], record.account
    if any(picture["kept"] is None for picture in pictures) or any(map(_is_lost, account.get(VIDEOS, ()))):
        raise HTTPException(503, LOST)
    headers = {} if record.visual_tokens is None else headers_of(record.visual_tokens)
    if shown == "png":
        asked = [about.picture for about in record.asked_about]
        return Response(await asyncio.to_thread(as_png, asked, pictures), media_type="image/png", headers=headers)
    document: dict[str, Any] = {
        "object": SELECTION,
        "model": request.model,
        "pictures": pictures,
        "visual_tokens": account or None,
        "seconds": round(time.perf_counter() - began, 6),
        **kv_bytes_of(raw_request),
    }
    return JSONResponse(document, headers=headers)


def prefill_of(request: ChatRequest) -> ChatRequest:
    """The same prompt, of which one token is asked for and nothing else."""
    return request.model_copy(
        update={
            "stream": False,
            "stream_options": None,
            "max_tokens": None,
            "max_completion_tokens": 1,
            "min_tokens": 0,
            "n": 1,
            "logprobs": False,
            "top_logprobs": 0,
            "prompt_logprobs": None,
            "use_beam_search": False,
            "response_format": None,
            "structured_outputs": None,
            # Else an answer of one token would be a call that cannot be parsed.
            "tool_choice": "auto" if request.tool_choice == "auto" else "none",
        }
    )


def _is_lost(video: Mapping[str, Any]) -> bool:
    return video["skipped_reason"] is None and video["selection"] is None


def _format_of(request: ChatRequest, raw_request: Request) -> str:
    if FORMAT in (request.model_extra or {}):
        where = f"{FORMAT} stands in the query, as in {VISUAL_TOKENS}?{FORMAT}=png"
        raise InvalidField(FORMAT, where, code="unsupported_parameter")
    wanted = raw_request.query_params.getlist(FORMAT) or [FORMATS[0]]
    if len(wanted) > 1 or wanted[0] not in FORMATS:
        raise InvalidField(FORMAT, f"format must be one of {', '.join(FORMATS)}", code="invalid_value")
    return wanted[0]
