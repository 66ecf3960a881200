"""The entry point `vllm.endpoint_plugins: sppruner_api`, by which our routes get into vLLM's own server.

vLLM loads it in every API server process, the ones it spawns itself included, when VLLM_PLUGINS names it.
"""

from __future__ import annotations

from argparse import Namespace
from typing import Any, Final

import vllm
from fastapi import FastAPI
from starlette.datastructures import State

from sppruner_vllm import __version__
from sppruner_vllm.metrics import events
from sppruner_vllm.parts import published
from sppruner_vllm.settings import settings

from .drain import DrainMiddleware, InFlight
from .handlers import answer_exceptions
from .hooks import (
    install_acceptance,
    install_drain,
    install_gate,
    install_guard,
    install_messages,
    install_watch,
    install_withdrawal,
)
from .models import router as models
from .routes import router

NAME: Final = "sppruner_api"


class EndpointPlugin:
    """What vLLM asks of an endpoint plugin (plugins/endpoint_plugins/interface.py)."""

    name = NAME
    required_tasks = ("generate",)

    def attach_router(self, app: FastAPI) -> None:
        """Add our routes; vLLM drops its own of the same path."""
        self._app = app
        app.include_router(router)
        app.include_router(models)
        app.state.sppruner_in_flight = InFlight()
        app.add_middleware(DrainMiddleware, requests=app.state.sppruner_in_flight)

    async def init_state(self, engine_client: Any, state: State, args: Namespace) -> None:
        """Put the gate before the one renderer that all endpoints share, and watch the engine behind it.

        By now vLLM has added its middlewares and exception handlers, round and in place of which ours go.
        """
        answer_exceptions(self._app)
        install_guard(self._app)
        events.start(__version__, vllm.__version__, settings())
        events.show_parts(published(engine_client.model_config.model))
        install_gate(state.online_renderer)
        install_withdrawal(state.online_renderer.renderer)
        install_messages(state.anthropic_serving_messages)
        install_acceptance(engine_client)
        install_watch(engine_client)
        install_drain(engine_client, state.sppruner_in_flight)
