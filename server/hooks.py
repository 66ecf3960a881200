"""Everything of vLLM's that this server rebinds, on the objects of its own process and nowhere else.

Each says what vLLM lacks and what would make it go. tests/plugin/test_hooks.py holds them against the real classes:
that what is rebound is there, that vLLM calls it as we take it to, and that it is still needed. What the plugin rebinds
in every process stands in sppruner_vllm/compat.py.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Final

from fastapi import FastAPI
from starlette.middleware import Middleware

from .connection import bounded
from .drain import InFlight, drained
from .engine_watch import watched
from .open_routes import divide, opened
from .renderer import gated_chat, gated_completion
from .sender_cache import SenderWatch

REPLACED: Final = ("AuthenticationMiddleware", "CORSMiddleware", "XRequestIdMiddleware")
"""Middlewares that vLLM adds and ours stand in for, by the name of their class."""

logger = logging.getLogger("vllm.sppruner")


def install_door(app: FastAPI, door: Sequence[Middleware]) -> None:
    """Put our middlewares around vLLM's, and take out those of vLLM's that they stand in for.

    vLLM (0.32 and 0.33, serve/middleware/register.py) asks for a key on four prefixes alone, knows no key but its own,
    and adds its middlewares after an endpoint plugin has attached its own, so that they stand outside.
    Until: an endpoint plugin may say where its middlewares stand.

    Args:
        app: built, and not serving yet.
        door: outermost first.
    """
    inner = [kept for kept in app.user_middleware if getattr(kept.cls, "__name__", "") not in REPLACED]
    app.user_middleware[:] = [*door, *inner]
    # vLLM's last step has had it built already (serve/sagemaker/api_router.py); Starlette builds it anew when asked.
    app.middleware_stack = None


def close_routes(app: FastAPI, further: str) -> None:
    """Take away the routes that a server on the internet should not have, save those the operator opens.

    vLLM (0.32 and 0.33, entrypoints/launchers/api_server/routers.py) attaches most of them always.
    Until: vLLM can leave them out.

    Args:
        app: with all its routes. further: path templates with commas between them.
    """
    stay, closed = divide(app.router.routes, opened(further))
    if closed:
        logger.info("not served, open with --open-routes: %s", ", ".join(closed))
    app.router.routes[:] = stay
    app.openapi_schema = None


def bound_connections(server: Any) -> None:
    """Let every connection of a server have the bounds of connection.py.

    vLLM (0.32 and 0.33, entrypoints/launchers/launcher.py, `serve_http`) chooses uvicorn's class of a connection, and
    uvicorn, which reads it from its configuration for each one, has no time limit for a head.
    Until: vLLM lets uvicorn's options through from its command line, or uvicorn has such a limit.

    Args:
        server: uvicorn's Server, before its first connection.
    """
    server.config.http_protocol_class = bounded(server.config.http_protocol_class)


def install_gate(renderer: Any) -> None:
    """Put the gate before a renderer's two entrances, `preprocess_chat` and `preprocess_cmpl`.

    vLLM (0.32 and 0.33, renderers/online_renderer.py, OnlineRenderer) lets all processor kwargs of a request through or
    none, and returns to its routes before anyone could add an account of the images. The renderer must trust what
    arrives, since our fields travel as processor kwargs; what the operator trusts is decided in the gate.
    Until: processor kwargs that are open one by one, and a hook of endpoint plugins on what was rendered.

    Args:
        renderer: vLLM's OnlineRenderer.
    """
    trusted = bool(renderer.trust_request_mm_kwargs)
    renderer.trust_request_mm_kwargs = True
    renderer.preprocess_chat = gated_chat(renderer.preprocess_chat, trusted)
    renderer.preprocess_cmpl = gated_completion(renderer.preprocess_cmpl, trusted)


def install_withdrawal(renderer: Any) -> None:
    """Let the record of a request withdraw what its rendering entered into the sender cache.

    vLLM (0.32 and 0.33, v1/engine/async_llm.py, `output_handler`) forgets an entry only once the engine has missed it,
    which costs a request that was good (sender_cache.py).
    Until: vLLM forgets what a refused request has entered.

    Args:
        renderer: vLLM's BaseRenderer; one without a sender cache needs nothing.
    """
    if (cache := renderer.mm_processor_cache) is None:
        return
    watch = SenderWatch(renderer)
    cache.get_and_update_item = watch.enter
    renderer._process_multimodal_async = watch.process


def install_watch(engine_client: Any) -> None:
    """Watch what the engine client's `generate` yields, through which every endpoint goes.

    vLLM (0.32 and 0.33, v1/engine/async_llm.py, AsyncLLM) tells its own metrics of each output, and nobody else.
    Until: a statistics plugin that is given the prompt beside the output (`vllm.stat_logger_plugins` is not).
    """
    engine_client.generate = watched(engine_client.generate)


def install_drain(engine_client: Any, requests: InFlight) -> None:
    """Let the engine client's `shutdown` wait for the requests in flight.

    vLLM (0.32 and 0.33, entrypoints/launchers/launcher.py, `handle_shutdown`) stops renderer and engine first and
    listens on (drain.py).
    Until: vLLM refuses new requests while it drains.
    """
    engine_client.shutdown = drained(engine_client.shutdown, requests)
