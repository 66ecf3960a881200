"""The entry point `vllm.endpoint_plugins: sppruner_api`, by which our routes get into vLLM's own server.

vLLM loads it in every API server process, the ones it spawns itself included, when VLLM_PLUGINS names it.
"""

from __future__ import annotations

import logging
from argparse import Namespace
from typing import Any, Final

import vllm
from fastapi import FastAPI
from starlette.datastructures import State
from vllm import envs

from sppruner_vllm import __version__
from sppruner_vllm.api.fetching_connector import fetch_with_care
from sppruner_vllm.api.processor import ReductionProcessorMixin
from sppruner_vllm.heap import tend_heap
from sppruner_vllm.metrics import events
from sppruner_vllm.parts import published
from sppruner_vllm.settings import settings

from .engine.kv_bytes import kv_bytes_per_token
from .errors.handlers import answer_exceptions
from .hooks import (
    close_routes,
    install_acceptance,
    install_document,
    install_door,
    install_ending,
    install_gate,
    install_grammars,
    install_guard,
    install_load,
    install_messages,
    install_resend,
    install_responses,
    install_shadow,
    install_telling,
    install_watch,
    install_withdrawal,
)
from .keys.ring import KeyRing
from .lifecycle.drain import InFlight
from .lifecycle.ending import Ending, drain_seconds
from .middleware.capacity import most_requests
from .middleware.order import middlewares
from .openapi.document import describing
from .openapi.facts import facts_of
from .request.load import follow_load
from .routes.health import router as health_router
from .routes.models import router as models
from .routes.multimodal import router
from .routes.playground import router as playground
from .routes.text import router as strict_router
from .routes.visual_tokens import router as explaining
from .shadow.cap import HourlyCap
from .shadow.shadow import Shadow

NAME: Final = "sppruner_api"

logger = logging.getLogger("vllm.sppruner")


class EndpointPlugin:
    """What vLLM asks of an endpoint plugin (plugins/endpoint_plugins/interface.py)."""

    name = NAME
    required_tasks = ("generate",)

    def attach_router(self, app: FastAPI) -> None:
        """Add our routes; vLLM drops its own of the same path."""
        self._app = app
        app.include_router(router)
        app.include_router(health_router)
        app.include_router(strict_router)
        app.include_router(models)
        if settings().explains:
            app.include_router(explaining)
        if settings().playground:
            app.include_router(playground)
        install_document(app, describing(app, lambda: facts_of(app.state)))
        app.state.sppruner_in_flight = InFlight()

    async def init_state(self, engine_client: Any, state: State, args: Namespace) -> None:
        """Put the gate before the one renderer that all endpoints share, and watch the engine behind it.

        By now vLLM has added its middlewares and exception handlers, round and in place of which ours go.
        """
        answer_exceptions(self._app)
        install_guard(self._app)
        fetch_with_care()
        tend_heap(settings().heap_trim_seconds)
        events.start(__version__, vllm.__version__, settings())
        events.show_parts(published(engine_client.model_config.model))
        processor = state.online_renderer.renderer.mm_processor
        reduces = isinstance(processor, ReductionProcessorMixin)
        if processor is not None and not reduces:
            logger.warning("no visual tokens are dropped: this model's architecture is served as stock vLLM serves it")
        install_gate(state.online_renderer, self._shadow(engine_client, state), reduces=reduces)
        install_withdrawal(state.online_renderer.renderer)
        install_messages(state.anthropic_serving_messages)
        install_responses(state.openai_serving_responses)
        install_grammars()
        install_resend(engine_client)
        install_watch(engine_client)
        processes = engine_client.vllm_config.parallel_config._api_process_count
        if (load := follow_load(settings(), processes)) is not None:
            install_load(engine_client, load)
        if settings().explains:
            install_telling(engine_client)
            self._app.state.sppruner_kv_bytes = kv_bytes_per_token(engine_client.vllm_config)
        seconds = drain_seconds(engine_client.vllm_config.shutdown_timeout)
        ending = Ending(engine_client, state, state.sppruner_in_flight, seconds)
        self._app.state.sppruner_ending = ending
        install_ending(engine_client, ending.shutting_down)
        install_acceptance(engine_client, ending.stops)
        self._close(engine_client.vllm_config, state, args)

    def _shadow(self, engine_client: Any, state: State) -> Shadow | None:
        """What asks requests again, if the operator wants it; to be made before `generate` is rebound."""
        chosen, config = settings(), engine_client.vllm_config
        if chosen.shadow_share == 0 or chosen.shadow_per_hour == 0:
            return None
        parallel, scheduler = config.parallel_config, config.scheduler_config
        processes = parallel._api_process_count
        batch = scheduler.max_num_seqs * engines(parallel)
        usual = max(1, batch // (2 * processes))
        shadow = Shadow(
            engine_client.generate,
            state.sppruner_in_flight,
            HourlyCap(chosen.shadow_per_hour, max(0, parallel._api_process_rank), processes),
            share=chosen.shadow_share,
            most_in_flight=usual if chosen.shadow_max_in_flight is None else chosen.shadow_max_in_flight,
            most_logprobs=engine_client.model_config.max_logprobs,
            by_priority=scheduler.policy == "priority",
        )
        install_shadow(engine_client)
        return shadow

    def _close(self, config: Any, state: State, args: Namespace) -> None:
        """Let nobody in but through the door; vLLM has built the whole app by now.

        Raises:
            BadKeys: a key cannot be used.
        """
        chosen, processes = settings(), config.parallel_config._api_process_count
        ring = KeyRing(chosen, [key for key in (args.api_key or [envs.VLLM_API_KEY]) if key])
        self._app.state.sppruner_asks_for_keys = bool(ring)
        if not ring:
            logger.warning("no API key is set: whoever reaches this server may use it")
        batch = config.scheduler_config.max_num_seqs * engines(config.parallel_config)
        most = most_requests(chosen.max_requests, batch, processes)
        cors = {
            "allow_origins": args.allowed_origins,
            "allow_credentials": args.allow_credentials,
            "allow_methods": args.allowed_methods,
            "allow_headers": args.allowed_headers,
        }
        install_door(self._app, middlewares(chosen, ring, state.sppruner_in_flight, most, processes, cors))
        close_routes(self._app, chosen.open_routes)


def engines(parallel: Any) -> int:
    """Engines among which the API processes share their requests out, of vLLM's ParallelConfig."""
    return int(parallel.data_parallel_size_local if parallel.local_engines_only else parallel.data_parallel_size)
