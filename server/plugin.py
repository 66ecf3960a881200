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
from sppruner_vllm.errors import InvalidField
from sppruner_vllm.metrics import events
from sppruner_vllm.parts import published
from sppruner_vllm.settings import settings

from .drain import DrainMiddleware, InFlight
from .errors import refuse
from .hooks import install_drain, install_gate, install_watch, install_withdrawal
from .openapi.document import describe
from .openapi.facts import facts_of
from .routes import router
from .strict import router as strict_router

NAME: Final = "sppruner_api"


class EndpointPlugin:
    """What vLLM asks of an endpoint plugin (plugins/endpoint_plugins/interface.py)."""

    name = NAME
    required_tasks = ("generate",)

    def attach_router(self, app: FastAPI) -> None:
        """Add our routes and the answer to refused fields; vLLM drops its routes of the same path."""
        app.include_router(router)
        app.include_router(strict_router)
        describe(app, lambda: facts_of(app.state))
        app.state.sppruner_in_flight = InFlight()
        app.add_middleware(DrainMiddleware, requests=app.state.sppruner_in_flight)
        app.add_exception_handler(InvalidField, refuse)

    async def init_state(self, engine_client: Any, state: State, args: Namespace) -> None:
        """Put the gate before the one renderer that all endpoints share, and watch the engine behind it."""
        events.start(__version__, vllm.__version__, settings())
        events.show_parts(published(engine_client.model_config.model))
        install_gate(state.online_renderer)
        install_withdrawal(state.online_renderer.renderer)
        install_watch(engine_client)
        install_drain(engine_client, state.sppruner_in_flight)
