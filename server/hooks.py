"""Everything of vLLM's that this server rebinds, on the objects of its own process and nowhere else.

Each says what vLLM lacks and what would make it go. tests/plugin/test_hooks.py holds them against the real classes:
that what is rebound is there, that vLLM calls it as we take it to, and that it is still needed. What the plugin rebinds
in every process stands in sppruner_vllm/compat/.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import signal
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Final

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.middleware import Middleware

from .body.check import BodyCheck
from .body.held import leaving_none_out
from .connection import bounded
from .engine.acceptance import accepting, telling, withdrawing
from .engine.renderer import gated_chat, gated_completion
from .engine.resend import resending
from .engine.sender_cache import SenderWatch
from .engine.telling import asking_workers
from .engine.waiting import waiting
from .engine.watch import watched
from .errors.guard import Guard
from .keys.owned import Owned
from .request.attempt import noting
from .request.load import Load
from .routes.anthropic import continuing, with_objects
from .routes.invocations import check_invocation
from .routes.open_routes import divide, opened
from .routes.outcomes import RecordedRoute
from .shadow.candidate import remembering
from .shadow.shadow import Shadow

RESPONSES: Final = ("response_store", "msg_store", "event_store", "background_tasks")
"""Where vLLM keeps what it knows of a response by its id."""
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


def install_document(app: Any, openapi: Callable[[], dict[str, Any]]) -> None:
    """Let /openapi.json answer with another document than FastAPI's: its own way to change it is this method."""
    app.openapi = openapi


def install_gate(renderer: Any, shadow: Shadow | None = None, *, reduces: bool = True) -> None:
    """Put the gate before a renderer's two entrances, `preprocess_chat` and `preprocess_cmpl`.

    vLLM (0.32 and 0.33, renderers/online_renderer.py, OnlineRenderer) lets all processor kwargs of a request through or
    none, and returns to its routes before anyone could add an account of the images. The renderer must trust what
    arrives, since our fields travel as processor kwargs; what the operator trusts is decided in the gate.
    Until: processor kwargs that are open one by one, and a hook of endpoint plugins on what was rendered.

    Args:
        renderer: vLLM's OnlineRenderer.
        shadow: picks requests to be asked again; None for none.
        reduces: whether its processor is ours.
    """
    trusted = bool(renderer.trust_request_mm_kwargs)
    renderer.trust_request_mm_kwargs = True
    renderer.preprocess_chat = gated_chat(renderer.preprocess_chat, trusted, shadow, reduces=reduces)
    renderer.preprocess_cmpl = gated_completion(renderer.preprocess_cmpl, trusted)


def install_withdrawal(renderer: Any) -> None:
    """Let the record of a request withdraw what its rendering entered into the sender cache.

    vLLM (0.32 and 0.33, v1/engine/async_llm.py, `output_handler`) forgets an entry only once the engine has missed it,
    which costs a request that was good, and does so while another request is rendered (engine/sender_cache.py).
    Until: vLLM forgets what a refused request has entered, between renderings.

    Args:
        renderer: vLLM's BaseRenderer; one without a sender cache needs nothing.
    """
    if (cache := renderer.mm_processor_cache) is None:
        return
    watch = SenderWatch(renderer)
    cache.get_and_update_item = watch.enter
    cache.invalidate = watch.drop
    renderer._process_multimodal_async = watch.process


def install_guard(app: FastAPI) -> None:
    """Put the guard round the app, and with the reading of bodies round vLLM's routes; ours have them.

    vLLM (0.32 and 0.33, entrypoints/serve/exception_handling) answers errors in several shapes, and lets exceptions of
    other classes than four go up to where the connection is closed (errors/guard.py).
    Until: vLLM's errors have one shape, and their codes are strings.

    Args:
        app: with all its routes, middlewares and exception handlers, and not serving yet.
    """
    app.user_middleware.insert(0, Middleware(Guard))
    # Built before this, by the library of vLLM's SageMaker routes. The next request builds it.
    app.middleware_stack = None
    for route in app.routes:
        if isinstance(route, APIRoute) and not isinstance(route, RecordedRoute):
            route.app = Guard(BodyCheck(route.app, check_invocation))


def install_grammars() -> None:
    """Let vLLM know all that xgrammar leaves out of a schema, where another library can hold an answer to it.

    vLLM (0.32 and 0.33, v1/structured_output/backend_xgrammar.py) has a list of its own, which is shorter, and asks
    the other library for what is on it (sampling_params.py, `_validate_structured_outputs`).
    Until: xgrammar looks at all of a schema, or says that it does not (body/left_out.py).
    """
    from vllm.v1.structured_output import backend_xgrammar

    unsupported = backend_xgrammar.has_xgrammar_unsupported_json_features
    if not hasattr(unsupported, "__wrapped__"):
        backend_xgrammar.has_xgrammar_unsupported_json_features = leaving_none_out(unsupported)


def install_messages(messages: Any) -> None:
    """Note what the handlers of Anthropic's API raise, and let them go on with an answer that was begun, and send no
    tool input but an object (routes/anthropic.py).

    vLLM (0.32 and 0.33, entrypoints/anthropic/api_router.py) makes an answer of any exception and forgets its class.
    Until: its exceptions reach the handlers of the app, as those of its other APIs do; and it does the rest itself.

    Args:
        messages: vLLM's AnthropicServingMessages; None where the model has no such API.
    """
    if messages is not None:
        messages.create_messages = noting(messages.create_messages)
        messages.count_tokens = noting(messages.count_tokens)
        messages.to_chat_completion_request = continuing(messages.to_chat_completion_request)
        messages.messages_full_converter = with_objects(messages.messages_full_converter)


def install_responses(responses: Any) -> None:
    """Let every key know its own responses alone (keys/owned.py).

    vLLM (0.32 and 0.33, entrypoints/openai/responses/serving.py) shows, cancels and goes on with any response for
    whoever knows its id.
    Until: it asks whose a response is, or its store can be another.

    Args:
        responses: vLLM's OpenAIServingResponses, before its first request; None where the model has no such API.
    """
    if responses is not None:
        for table in RESPONSES:
            setattr(responses, table, Owned())


def install_acceptance(engine_client: Any, stops: Callable[[], bool]) -> None:
    """Tell the client's fault from the server's where a request passes to the engine.

    vLLM (0.32 and 0.33, v1/engine/async_llm.py, AsyncLLM) calls a failure of its engine what it cannot encode, and
    leaves it among the requests that run (engine/acceptance.py).
    Until: it validates a request before the stream begins, and names what was wrong.

    Args: stops: whether the server is about to end.
    """
    core = engine_client.engine_core
    core.add_request_async = withdrawing(core.add_request_async, engine_client.abort)
    engine_client.add_request = accepting(engine_client.add_request)
    dead_ends = engine_client.vllm_config.kv_transfer_config is None
    engine_client.generate = telling(engine_client.generate, dead_ends=dead_ends, stops=stops)


def install_resend(engine_client: Any) -> None:
    """Let the engine client's `generate` send a prompt again whose pictures the engine lacks (engine/resend.py).

    To be installed before the watch, which is to see what the client gets.
    Until: vLLM renders such a request again itself.
    """
    engine_client.generate = resending(engine_client.generate)


def install_shadow(engine_client: Any) -> None:
    """Let a request that is to be asked again see its own answer (shadow/candidate.py).

    To be installed first: closest to the engine, behind what sends a prompt again.
    Until: a statistics plugin that is given the prompt beside the output, as with `install_watch`.
    """
    engine_client.generate = remembering(engine_client.generate)


def install_watch(engine_client: Any) -> None:
    """Watch what the engine client's `generate` yields, through which every endpoint goes.

    vLLM (0.32 and 0.33, v1/engine/async_llm.py, AsyncLLM) tells its own metrics of each output, and nobody else.
    Until: a statistics plugin that is given the prompt beside the output (`vllm.stat_logger_plugins` is not).
    """
    engine_client.generate = watched(engine_client.generate)


def install_load(engine_client: Any, load: Load) -> None:
    """Let the load know what waits for its first token (engine/waiting.py).

    Until: a statistics plugin that every API process has, and that is told of each request.
    """
    engine_client.generate = waiting(engine_client.generate, load)


def install_telling(engine_client: Any) -> None:
    """Let the record of a request that wants to be told know what the workers kept (engine/telling.py).

    Until: outputs of vLLM's engine carry what its model has to say of a request.
    """
    engine_client.generate = asking_workers(engine_client.generate, engine_client.engine_core)


def install_ending(engine_client: Any, shutting_down: Callable[[Callable[..., None]], Callable[..., None]]) -> None:
    """Let the engine client's `shutdown` be short, and tell the process's status of the engine's death.

    vLLM (0.32 and 0.33, entrypoints/launchers/api_server/entry.py) gives an engine without work as long as one with
    requests, and exits with 0 whatever became of it (lifecycle/ending.py).
    Until: vLLM's status tells of it.
    """
    engine_client.shutdown = shutting_down(engine_client.shutdown)


def refuse_generation(engine_client: Any, failure: Callable[[], Exception]) -> None:
    """Let whatever asks the engine from now on fail.

    vLLM (0.32 and 0.33) has no such state of a client; the engine of a server that stops would take the request, and
    end it with a 200 that is cut short.
    Until: an engine that stops refuses requests with an error.
    """

    def refused(*_: Any, **__: Any) -> Any:
        raise failure()

    engine_client.generate = refused


def part_soon(server: Any) -> None:
    """Let uvicorn's server, once it ends, wait for clients that do not read no longer than a second.

    vLLM (0.32 and 0.33, entrypoints/launchers/launcher.py) sets no limit. By then nothing is in flight that a client
    would wait for (lifecycle/ending.py).
    Until: vLLM lets uvicorn's options through from its command line.
    """
    server.config.timeout_graceful_shutdown = 1


def stop_serving(server: Any) -> None:
    """Let uvicorn's server end.

    vLLM (0.32 and 0.33, entrypoints/launchers/launcher.py) ends it in the same way when its engine has died.
    Until: an endpoint plugin may ask for the end.
    """
    server.should_exit = True


def notice_engine_loss(engine_client: Any) -> asyncio.Task[None] | None:
    """Let one of several API processes notice that an engine is gone: the connection from it breaks.

    vLLM (0.32 and 0.33, v1/engine/core_client.py, `start_engine_core_monitor`) watches engines only in the process that
    started them. In the others requests would wait until their front kills them.
    Until: vLLM watches in each.

    Returns:
        The task that waits for it; None where vLLM watches itself.
    """
    import zmq
    from vllm.v1.engine.exceptions import EngineDeadError

    core = engine_client.engine_core
    if core.resources.engine_manager is not None:
        return None
    monitor = core.input_socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)

    async def watch() -> None:
        try:
            await monitor.recv_multipart()
        finally:
            monitor.close(linger=0)  # or the end of its context would wait for it
        core.resources.engine_dead = True
        core.outputs_queue.put_nowait(EngineDeadError())

    return asyncio.create_task(watch())


def install_api_servers(manager: type) -> None:
    """Let a front of several API processes wait for them, and pass a second signal on (lifecycle/api_servers.py).

    vLLM (0.32 and 0.33, entrypoints/cli/serve.py, `run_multi_api_server`) gives them five seconds when one of them, or
    the engine, has died, and takes no notice of a second signal.
    Until: vLLM does, or lets its command be given another manager.

    Args:
        manager: derived from vLLM's APIServerProcessManager.
    """
    from vllm.entrypoints.cli import serve

    serve.APIServerProcessManager = manager


def install_start(leave: Any) -> None:
    """Let a signal end a server whose engine is still loading.

    vLLM (0.32 and 0.33) raises KeyboardInterrupt then, and swallows it where it waits for its engine
    (utils/network_utils.py, `zmq_socket_ctx`): the server loads on and serves.
    Until: that lets it through.

    Args:
        leave: handler of a signal, which raises SystemExit.
    """
    from vllm.entrypoints.launchers.api_server import entry

    upstream = entry.run_server_worker

    @wraps(upstream)
    async def ended_by_signals(*args: Any, **kwargs: Any) -> None:
        if multiprocessing.parent_process() is None:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, leave)
        await upstream(*args, **kwargs)

    entry.run_server_worker = ended_by_signals
