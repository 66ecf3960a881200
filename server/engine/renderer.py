"""The gate before vLLM's renderer: our fields go in, foreign processor kwargs stay out, the account comes back.

One OnlineRenderer serves chat, batch, responses, messages, tokenize and /invocations, so a gate on its two entrances
covers them all; hooks.py puts it there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial, wraps
from typing import Any

from vllm.entrypoints.generate.base.protocol import validate_request_mm_kwargs
from vllm.entrypoints.openai.responses.protocol import ResponsesRequest

from sppruner_vllm.admission import Admitted, admit
from sppruner_vllm.api.room import sharing
from sppruner_vllm.pictures.budget import PixelBudget
from sppruner_vllm.planning.accounting import note_whole, visual_tokens_of
from sppruner_vllm.planning.telling import ASKED_ABOUT
from sppruner_vllm.request.fields import KEEP_RATIO, MAX_PIXELS
from sppruner_vllm.request.handed_over import TELLING
from sppruner_vllm.settings import settings

from ..body.fields import foreign_kwargs, reduction_fields
from ..errors.rendering import blaming_pictures
from ..keys.current import bounds_in_force, default_has_slid, limits_in_force
from ..request.load import waiting_while
from ..request.record import RequestRecord, current_record
from ..shadow.shadow import Shadow
from ..tracing import RENDER, note_visual_tokens, stage
from .resend import AGAIN, lacks_pictures

Preprocess = Callable[..., Awaitable[Any]]


def gated_chat(
    preprocess: Preprocess, trusted: bool, shadow: Shadow | None = None, *, reduces: bool = True
) -> Preprocess:
    """The entrance of prompts with images, behind the gate.

    Args:
        preprocess: vLLM's `OnlineRenderer.preprocess_chat`, bound.
        trusted: whether the operator lets foreign processor kwargs through.
        shadow: picks requests to be asked again; None for none.
        reduces: whether the processor behind it is ours. vLLM's own would take our fields for its model's.
    """

    @wraps(preprocess)
    async def gated(request: Any, *args: Any, **kwargs: Any) -> Any:
        fields, foreign = _admit(request, trusted)
        record = current_record() or RequestRecord()
        record.under_load = record.under_load or (reduces and fields.request.takes_default and default_has_slid())
        budget: AbstractContextManager[None] = nullcontext()
        if (conversation_of := record.begin()) is not None:
            fields = _of_conversation(fields, *conversation_of)
            record.pixels = record.pixels or PixelBudget.of(settings())
            budget = sharing(record.pixels)
        telling = {} if record.telling is None else {TELLING: record.telling}
        ours = Admitted({**foreign, **fields, **bounds_in_force(), **telling}, fields.request)
        # With nothing to say the request goes on as it came: the processor falls back on the operator's defaults.
        request.mm_processor_kwargs = (ours if reduces else foreign) or None
        if record.dry:
            kwargs["skip_mm_cache"] = True
        with stage(RENDER) as span, waiting_while(not record.dry):
            try:
                with budget, blaming_pictures(getattr(request, "truncate_prompt_tokens", None)):
                    conversation, engine_inputs = await preprocess(request, *args, **kwargs)
            except asyncio.CancelledError:
                record.withdraw()  # the client left; the rendering goes on in its thread
                raise
            if not reduces:
                for engine_input in engine_inputs:
                    note_whole(engine_input, fields.request)
            _let_render_again(engine_inputs, lambda: preprocess(request, *args, **{**kwargs, "skip_mm_cache": True}))
            record.asked_about = engine_inputs[0].get(ASKED_ABOUT, ())
            if (tokens := visual_tokens_of(engine_inputs[0])) is not None:
                note_visual_tokens(span, tokens)
        # Turns that a tool adds to a response render the same images again: the first rendering is the client's.
        rendered_again = bool(record.accounts) and isinstance(request, ResponsesRequest)
        if tokens is not None and not rendered_again:
            record.accounts.append(tokens)
            if shadow is not None and not record.dry and not getattr(request, "use_beam_search", False):
                # A smaller picture is what the client sent, to whoever asks for every token of it.
                sizes = {name: value for name, value in fields.items() if name == MAX_PIXELS}
                whole = partial(_with_every_token, preprocess, request, {**foreign, **sizes}, args, kwargs)
                if (candidate := shadow.choose(engine_inputs[0], tokens, whole)) is not None:
                    record.afterwards.append(partial(shadow.ask, candidate))
        return conversation, engine_inputs

    return gated


def _of_conversation(fields: Admitted, first: int, count: int) -> Admitted:
    """What is asked of the pictures of one conversation of several."""
    lists = {name: value[first : first + count] for name, value in fields.items() if isinstance(value, list)}
    return Admitted({**fields, **lists}, fields.request.of_images(first, count)) if lists else fields


async def _with_every_token(
    preprocess: Preprocess, request: Any, foreign: Mapping[str, object], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """The engine input of a request at keep ratio 1, past the caches: nobody else's pictures make room for it."""
    whole = request.model_copy(update={"mm_processor_kwargs": admit({**foreign, KEEP_RATIO: 1.0})})
    _, (engine_input,) = await preprocess(whole, *args, **{**kwargs, "skip_mm_cache": True})
    return engine_input


def _let_render_again(engine_inputs: Sequence[Any], render: Callable[[], Awaitable[Any]]) -> None:
    """Leave a way to render an input whose pictures the engine is taken to have (resend.py).

    Args: render: the same request past the sender cache, so that all its pictures are in what comes out.
    """

    async def again(place: int) -> Any:
        with blaming_pictures():
            _, rendered = await render()
        return rendered[place]

    for place, engine_input in enumerate(engine_inputs):
        if lacks_pictures(engine_input):
            engine_input[AGAIN] = partial(again, place)


def gated_completion(preprocess: Preprocess, trusted: bool) -> Preprocess:
    """The entrance of text prompts, `OnlineRenderer.preprocess_cmpl`, behind the gate; otherwise as `gated_chat`."""

    @wraps(preprocess)
    async def gated(request: Any, *args: Any, **kwargs: Any) -> Any:
        # A text prompt has no image to reduce: our fields are admitted and go no further.
        fields, foreign = _admit(request, trusted)
        fields.request.refuse_other_count(0)
        request.mm_processor_kwargs = foreign or None
        return await preprocess(request, *args, **kwargs)

    return gated


def _admit(request: Any, trusted: bool) -> tuple[Admitted, dict[str, object]]:
    """The request's reduction fields and its other processor kwargs, both allowed to go on.

    Raises:
        InvalidField: a reduction field has a value we refuse; a route of ours has found that out before.
        VLLMValidationError: foreign kwargs, and the operator does not trust them.
    """
    record = current_record()
    known = None if record is None else record.fields
    fields = admit(reduction_fields(request) if known is None else known, limits_in_force())
    foreign = foreign_kwargs(request)
    validate_request_mm_kwargs(
        mm_processor_kwargs=foreign,
        media_io_kwargs=getattr(request, "media_io_kwargs", None),
        trust_request_mm_kwargs=trusted,
    )
    return fields, foreign
