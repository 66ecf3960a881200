"""What is rebound where prompts are made: markers that clients type, pixels that are kept, the room of the encoder."""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, Final

from .following import SHIM, follow, have_forget

_DISGUISED: Final = "sppruner_disguised"
_TYPED_MARKER: Final = "a message holds a special token of this model, which its tokenizer cannot read as text"


def let_renderers_forget_pixels() -> None:
    """Have a processor drop the pixels it keeps whenever vLLM clears its own cache of processed pictures.

    vLLM 0.32 and 0.33 tell a processor nothing of it (renderers/base.py, `clear_mm_cache`). To be called before a
    renderer is made, for it holds on to the method. A picture sent under the UUID of another would else keep the old
    pixels for good.
    Expiry: a hook of upstream's for what a processor keeps.
    """
    from vllm.renderers.base import BaseRenderer

    follow(BaseRenderer, "clear_mm_cache", lambda renderer: have_forget(renderer.mm_processor, "forget_pixels"))


def let_processors_know_encoder_room() -> None:
    """Tell a processor how many rows of the encoder one item of a prompt may have.

    vLLM 0.32 and 0.33 refuse larger items by the rows that stay (v1/engine/input_processor.py,
    `_validate_model_input`), while the encoder makes all rows of a reduced video. The limit depends on the scheduler's
    configuration, which a processor never sees. To be called before the engine's front is made.
    Expiry: a count of upstream's for what the encoder computes.
    """
    from vllm.v1.engine.input_processor import InputProcessor

    def tell(front: Any) -> None:
        know = getattr(front.renderer.mm_processor, "know_encoder_room", None)
        if know is not None:
            know(front.mm_encoder_cache_size)

    follow(InputProcessor, "__init__", tell)


def let_typed_markers_be_text() -> None:
    """Have a renderer keep what clients typed apart from what its chat template made.

    vLLM 0.32 and 0.33 tokenize both in one string, and count a typed marker as a picture's place
    (renderers/hf.py, `render_messages`; renderers/base.py, `_tokenize_prompt`). To be called before a renderer is made,
    for it holds on to the methods. A model whose processor is not ours is rendered as ever.
    Expiry: a template of upstream's that cannot be typed into.
    """
    from vllm.exceptions import VLLMValidationError
    from vllm.renderers.hf import HfRenderer

    upstream, upstream_async, tokenize = (
        HfRenderer.render_messages,
        HfRenderer.render_messages_async,
        HfRenderer._tokenize_prompt,
    )
    if hasattr(upstream, SHIM):
        return

    def disguised(renderer: Any, messages: Any, params: Any) -> tuple[Any, Any, bool]:
        markers = getattr(renderer.mm_processor, "typed_markers", None)
        if markers is None:
            return messages, params, False
        messages, given, found = markers.disguise(messages, params.chat_template_kwargs)
        return messages, replace(params, chat_template_kwargs=given) if found else params, found

    def counted(renderer: Any, messages: Any, params: Any) -> AbstractContextManager[None]:
        """Pictures are counted, and as they come in held against the room in the prompt (api/room.py)."""
        rendering = getattr(renderer.mm_processor, "rendering", None)
        return nullcontext() if rendering is None else rendering(params.mm_processor_kwargs or {}, messages)

    def marked(renderer: Any, conversation: Any, prompt: Any) -> tuple[Any, Any]:
        if not isinstance(prompt.get("prompt"), str):
            raise VLLMValidationError(_TYPED_MARKER, parameter="messages")
        prompt[_DISGUISED] = True
        return renderer.mm_processor.typed_markers.reveal(conversation), prompt

    @functools.wraps(upstream)
    def render_messages(self: Any, messages: Any, params: Any) -> Any:
        messages, params, found = disguised(self, messages, params)
        with counted(self, messages, params):
            rendered = upstream(self, messages, params)
        return marked(self, *rendered) if found else rendered

    @functools.wraps(upstream_async)
    async def render_messages_async(self: Any, messages: Any, params: Any) -> Any:
        messages, params, found = disguised(self, messages, params)
        with counted(self, messages, params):
            rendered = await upstream_async(self, messages, params)
        return marked(self, *rendered) if found else rendered

    @functools.wraps(tokenize)
    def tokenize_prompt(self: Any, prompt: Any, params: Any) -> Any:
        if not prompt.get(_DISGUISED):
            return tokenize(self, prompt, params)
        prompt = {key: value for key, value in prompt.items() if key != _DISGUISED}
        try:
            prompt["prompt"], ids = self.mm_processor.typed_markers.cut(prompt["prompt"], params.get_encode_kwargs())
        except ValueError as error:
            raise VLLMValidationError(_TYPED_MARKER, parameter="messages") from error
        return tokenize(self, prompt, params) if ids is None else self._build_tokens_prompt(ids, prompt)

    setattr(render_messages, SHIM, True)
    HfRenderer.render_messages = render_messages
    HfRenderer.render_messages_async = render_messages_async
    HfRenderer._tokenize_prompt = tokenize_prompt
