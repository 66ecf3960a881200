"""What we rebind of vLLM, on vLLM's own classes: that it is there, is called as we take it to, and is still needed."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sppruner_server
import uvicorn
import vllm
import zmq
from fastapi import FastAPI
from real_renderer import real_renderer
from sppruner_server.connection import bounded
from sppruner_server.errors.handlers import HANDLED
from sppruner_server.hooks import REPLACED, RESPONSES, close_routes, install_gate, install_withdrawal
from sppruner_server.lifecycle.api_servers import ApiServers
from sppruner_server.request.record import recording
from sppruner_server.routes.open_routes import SERVED
from sppruner_server.routes.requests import ChatRequest
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from vllm.entrypoints.anthropic import api_router as messages_api
from vllm.entrypoints.anthropic.serving import AnthropicServingMessages
from vllm.entrypoints.cli import serve
from vllm.entrypoints.launchers import launcher
from vllm.entrypoints.launchers.api_server import entry
from vllm.entrypoints.launchers.app import build_app
from vllm.entrypoints.openai.chat_completion.batch_serving import OpenAIServingChatBatch as ServingBatch
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.entrypoints.openai.chat_completion.serving import OpenAIServingChat as ServingChat
from vllm.entrypoints.openai.responses.serving import OpenAIServingResponses as ServingResponses
from vllm.entrypoints.serve.elastic_ep import api_router as elastic_ep
from vllm.entrypoints.serve.exception_handling.register import init_exception_handler
from vllm.entrypoints.serve.middleware import authenticate, register
from vllm.exceptions import VLLMError, VLLMValidationError
from vllm.renderers.online_renderer import OnlineRenderer
from vllm.utils.network_utils import zmq_socket_ctx
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.core_client import AsyncMPClient, MPClient
from vllm.v1.engine.output_processor import OutputProcessor
from vllm.v1.engine.utils import launch_core_engines

import sppruner_vllm
from serving import chat_body, data_url, png
from sppruner_vllm import admission
from sppruner_vllm.admission import admit
from sppruner_vllm.planning.accounting import VisualTokens

VLLM = Path(vllm.__file__).parent
PICTURE = data_url(png(448, 448))


@pytest.fixture(scope="module")
def stock(tiny_model: Path) -> Iterator[OnlineRenderer]:
    """vLLM's OnlineRenderer without our hooks."""
    online = real_renderer(tiny_model)
    yield online
    online.renderer.shutdown()


@pytest.fixture(scope="module")
def hooked(tiny_model: Path) -> Iterator[OnlineRenderer]:
    online = real_renderer(tiny_model)
    install_gate(online)
    install_withdrawal(online.renderer)
    yield online
    online.renderer.shutdown()


@pytest.fixture
def renderer(hooked: OnlineRenderer) -> OnlineRenderer:
    """vLLM's OnlineRenderer with our hooks on it, its sender cache empty."""
    hooked.renderer.clear_mm_cache()
    return hooked


def render(online: OnlineRenderer, request: ChatCompletionRequest) -> list:
    """The engine inputs of a chat, as vLLM's chat route gets them."""
    return asyncio.run(online.render_chat(request))[1]


def chat(*urls: str, **fields: object) -> ChatRequest:
    return ChatRequest(**chat_body(*urls, **fields))


# The gate before OnlineRenderer


def test_a_real_renderer_reduces_what_the_gate_lets_in_and_the_account_comes_back(renderer: OnlineRenderer) -> None:
    with recording() as record:
        (engine_input,) = render(renderer, chat(PICTURE, keep_ratio=0.25))
        assert record.visual_tokens == VisualTokens(256, 64, 0.25, "focus_context", None, ("question",))
    assert [place.length for place in engine_input["mm_placeholders"]["image"]] == [64]


def test_a_real_renderer_is_left_alone_by_a_request_that_asks_for_nothing(renderer: OnlineRenderer) -> None:
    with recording() as record:
        (engine_input,) = render(renderer, chat(PICTURE))
        assert record.visual_tokens == VisualTokens(256, 256, 1.0, "focus_context", "keep_ratio_is_1", (None,))
    assert [place.length for place in engine_input["mm_placeholders"]["image"]] == [256]


@pytest.mark.parametrize("where", ["top level", "nested", "route"])
def test_a_requests_fields_are_checked_once_between_route_and_processor(
    renderer: OnlineRenderer, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    checked = []
    validate = admission.validate_request
    monkeypatch.setattr(admission, "validate_request", lambda *given: checked.append(given) or validate(*given))
    fields = {"keep_ratio": 0.25, "focus_query": "the corner"}
    with recording() as record:
        if where == "route":
            record.fields = admit(fields)
        render(renderer, chat(PICTURE, **({"mm_processor_kwargs": fields} if where == "nested" else fields)))
        assert record.visual_tokens is not None
        assert record.visual_tokens.retained == 64
    assert len(checked) == 1


def test_the_fields_are_found_by_a_renderer_without_a_record(renderer: OnlineRenderer) -> None:
    (engine_input,) = render(renderer, chat(PICTURE, keep_tokens=20))
    assert [place.length for place in engine_input["mm_placeholders"]["image"]] == [20]


def test_a_real_renderer_keeps_foreign_kwargs_out(renderer: OnlineRenderer) -> None:
    with pytest.raises(VLLMValidationError):
        render(renderer, chat(PICTURE, keep_ratio=0.5, mm_processor_kwargs={"min_pixels": 28 * 28}))


def test_without_the_gate_a_real_renderer_takes_no_field_of_ours(stock: OnlineRenderer) -> None:
    """Once it does, the gate can go."""
    with pytest.raises(VLLMValidationError):
        render(stock, chat(PICTURE, mm_processor_kwargs={"keep_ratio": 0.25}))


def test_both_entrances_of_the_renderer_are_called_through_the_object_we_rebind() -> None:
    for name in ("preprocess_chat", "preprocess_cmpl"):
        entrance = getattr(OnlineRenderer, name)
        assert inspect.iscoroutinefunction(entrance)
        parameters = list(inspect.signature(entrance).parameters.values())
        assert parameters[1].name == "request"
        assert parameters[-1].name == "skip_mm_cache"
        assert parameters[-1].kind is inspect.Parameter.KEYWORD_ONLY
    sources = "".join(path.read_text() for path in (VLLM / "entrypoints").rglob("*.py"))
    callers = set(re.findall(r"(\w+)\.preprocess_(?:chat|cmpl)\(", sources + inspect.getsource(OnlineRenderer)))
    assert callers == {"self", "renderer", "online_renderer"}


# The sender cache of BaseRenderer


def entered(online: OnlineRenderer) -> list[str]:
    """The keys of the sender cache."""
    return list(online.renderer.mm_processor_cache._cache)


def test_a_withdrawal_takes_an_image_out_of_the_real_sender_cache(renderer: OnlineRenderer) -> None:
    with recording() as record:
        render(renderer, chat(PICTURE, keep_ratio=0.25))
        assert len(entered(renderer)) == 1
        record.withdraw()
        renderer.renderer._mm_executor.submit(int).result()  # behind the withdrawal
        assert entered(renderer) == []
        (engine_input,) = render(renderer, chat(PICTURE, keep_ratio=0.25))
    assert engine_input["mm_kwargs"]["image"][0] is not None, "the engine is sent the image again"


def test_rendering_alone_still_makes_vllm_believe_that_the_engine_has_the_image(stock: OnlineRenderer) -> None:
    """Once it waits for the engine, or asks it, the withdrawal can go."""
    first, second = (render(stock, chat(PICTURE))[0]["mm_kwargs"]["image"][0] for _ in range(2))
    assert first is not None
    assert second is None


def test_vllm_still_forgets_only_what_the_engine_has_missed() -> None:
    """Once something else makes it forget, that may be a refused request."""
    forgets = re.compile(r"mm_processor_cache\.invalidate\(|\.queue_mm_cache_invalidations\(")
    places = [path for folder in ("v1", "entrypoints", "renderers") for path in (VLLM / folder).rglob("*.py")]
    calls = {path.name: len(found) for path in places if (found := forgets.findall(path.read_text()))}
    assert calls == {"async_llm.py": 1, "llm_engine.py": 1}
    assert forgets.search(source := inspect.getsource(AsyncLLM._run_output_handler))
    assert "mm_cache_miss_hashes" in source


# The engine client


@pytest.mark.parametrize("serving", [ServingChat, ServingBatch, ServingResponses])
def test_every_endpoint_of_ours_asks_the_engine_through_the_clients_generate(serving: type) -> None:
    """Messages are chats: AnthropicServingMessages is one."""
    assert issubclass(AnthropicServingMessages, ServingChat)
    calls = re.findall(r"(\w+)\.generate\(\s*(\w+),\s*(\w+)", inspect.getsource(serving))
    assert {caller for caller, *_ in calls} == {"engine_client"}
    assert all("prompt" in prompt or "input" in prompt for _, prompt, _ in calls)
    assert {params for *_, params in calls} <= {"sampling_params", "single_sampling_params"}
    assert list(inspect.signature(AsyncLLM.generate).parameters)[1:3] == ["prompt", "sampling_params"]


def test_vllm_still_keeps_responses_by_their_id_alone() -> None:
    """Once it asks whose a response is, our tables can go; till then it has no others, and uses them so alone."""
    source = inspect.getsource(ServingResponses)
    assert set(re.findall(r"self\.(\w+): dict\[\s*str, ", source)) == set(RESPONSES)
    asked = re.findall(rf"self\.(?:{'|'.join(RESPONSES)})(?!\w)(\.\w+\(|\[|:| |\n)", source)
    assert set(asked) <= {".get(", ".pop(", "[", ":", " ", "\n"}
    assert list(inspect.signature(ServingResponses.retrieve_responses).parameters)[:2] == ["self", "response_id"]


def test_a_real_clients_shutdown_takes_the_time_that_is_left() -> None:
    assert list(inspect.signature(AsyncLLM.shutdown).parameters) == ["self", "timeout"]
    assert inspect.signature(AsyncLLM.shutdown).parameters["timeout"].default is None


def test_vllm_still_stops_its_engine_first_and_listens_on() -> None:
    """Once it refuses new requests while it drains, our own drain can go."""
    source = inspect.getsource(launcher.serve_http)
    handler = source[source.index("async def handle_shutdown") : source.index("shutdown_task = ")]
    assert handler.index("engine_client.shutdown, timeout=timeout") < handler.index("server.should_exit = True")


def test_vllm_still_sets_its_signal_handlers_before_the_app_starts_and_ends_by_should_exit() -> None:
    """Ours replace them in the app's lifespan, and end the server in the way of vLLM's own watchdog."""
    source = inspect.getsource(launcher.serve_http)
    assert source.index("add_signal_handler(signal.SIGTERM") < source.index("await server_task")
    assert "await" not in source[source.index("server_task = loop.create_task") : source.index("add_signal_handler")]
    assert "app.state.server = server" in source
    assert "server.should_exit = True" in inspect.getsource(launcher.terminate_if_errored)


def test_vllm_still_ends_with_0_when_its_engine_has_died() -> None:
    """Once it does not, the status of ours can go."""
    assert "exit" not in inspect.getsource(launcher.terminate_if_errored).replace("should_exit", "")
    assert "async_llm.shutdown(timeout=vllm_config.shutdown_timeout)" in inspect.getsource(
        entry.build_async_engine_client_from_engine_args
    )


def test_vllm_still_watches_engines_only_where_it_started_them() -> None:
    """Once it watches them in every API process, our own watch can go."""
    source = inspect.getsource(MPClient.start_engine_core_monitor)
    assert "engine_manager is None" in source
    assert "put_nowait(EngineDeadError())" in inspect.getsource(AsyncMPClient._ensure_output_queue_task)


def test_vllm_still_passes_an_error_that_carries_a_status_to_whoever_waits_for_the_engine() -> None:
    assert re.search(r"except \(VLLMClientError, GracefulHTTPError[\w, ]*\)", inspect.getsource(AsyncLLM.generate))
    assert "state.queue.put(e)" in inspect.getsource(OutputProcessor.propagate_error)
    assert list(inspect.signature(AsyncLLM.abort).parameters) == ["self", "request_id", "internal"]


def test_vllm_still_gives_its_api_processes_no_time_and_a_second_signal_no_meaning() -> None:
    source = inspect.getsource(serve.run_multi_api_server)
    assert source.index("signal.signal(signal.SIGTERM") < source.index("APIServerProcessManager(")
    assert "api_server_manager.shutdown(timeout=timeout)" in source
    assert issubclass(ApiServers, serve.APIServerProcessManager)


def test_vllm_still_swallows_the_signal_that_comes_while_its_engine_loads() -> None:
    with zmq_socket_ctx("inproc://engine", zmq.PAIR, bind=True) as socket, closing(socket):
        raise KeyboardInterrupt
    assert "with zmq_socket_ctx(" in inspect.getsource(launch_core_engines)
    source = inspect.getsource(entry.run_server)
    assert source.index("signal.signal(signal.SIGTERM") < source.index("await run_server_worker(")


# The door


def test_vllm_still_asks_for_a_key_on_few_paths_alone() -> None:
    """Once it asks on all paths, and for several keys with limits, its own could stay."""
    assert authenticate.GUARDED_PREFIX == ("/v1", "/v2", "/inference", "/cohere")
    assert list(inspect.signature(authenticate.AuthenticationMiddleware).parameters) == ["app", "tokens"]


def test_ours_stand_in_for_middlewares_that_vllm_adds() -> None:
    added = re.findall(r"app\.add_middleware\(\s*(\w+)", inspect.getsource(register.init_entrypoints_middleware))
    others = {"ScalingMiddleware", "WebSocketMetricsMiddleware", "imported"}
    assert set(added) == {*REPLACED, *others}, "a new one may do what one of ours does"


def test_vllm_still_builds_its_middlewares_behind_the_plugins_back() -> None:
    """Once a plugin can say where its own stand, the door need not be put there in the second phase."""
    source = inspect.getsource(build_app)
    assert source.index("attach_endpoint_plugins(") < source.index("init_entrypoints_middleware(")


def test_vllm_still_attaches_routes_for_the_operator_always() -> None:
    """Once it leaves them out, they need not be taken away."""
    app = FastAPI()
    elastic_ep.attach_router(app)
    close_routes(app, "")
    paths = {getattr(route, "path", None) for route in app.routes}
    assert paths <= SERVED
    assert (
        "attach_router as elastic_ep_attach_router"
        in (VLLM / "entrypoints/launchers/api_server/routers.py").read_text()
    )


def test_the_operator_opens_single_routes_or_all() -> None:
    for further, there in (("/scale_elastic_ep, /other", {"/scale_elastic_ep"}), ("*", None)):
        app = FastAPI()
        elastic_ep.attach_router(app)
        before = {getattr(route, "path", "") for route in app.routes}
        close_routes(app, further)
        after = {getattr(route, "path", "") for route in app.routes}
        assert after == (before if there is None else (before & SERVED) | there)


def test_uvicorn_still_reads_the_class_of_a_connection_for_each_one() -> None:
    for source in (inspect.getsource(uvicorn.Server.startup), inspect.getsource(launcher.NoSignalServer)):
        assert "config.http_protocol_class(" in source
    assert "http_protocol_class" not in inspect.getsource(launcher.serve_http)


@pytest.mark.parametrize("protocol", [H11Protocol, HttpToolsProtocol])
def test_both_of_uvicorns_connections_have_what_the_bounds_stand_on(protocol: type) -> None:
    """Once one of them has a time limit for a head of its own, ours can go."""
    derived = bounded(protocol)
    assert issubclass(derived, protocol)
    assert bounded(derived) is derived
    source = inspect.getsource(protocol)
    for name in ("self.cycle", "self.loop", "self.transport"):
        assert name in source
    for name in ("on_response_complete", "pause_writing", "resume_writing", "send_400_response"):
        assert callable(getattr(protocol, name))
    assert "call_later(self.timeout_keep_alive" in " ".join(source.split()).replace("call_later( ", "call_later(")
    assert source.count("call_later(") == 1


# Errors


def test_vllm_still_calls_a_failure_of_its_engine_what_it_cannot_send_to_it() -> None:
    """Once it names what was wrong, and forgets the request, our own telling can go."""
    source = inspect.getsource(AsyncLLM.generate)
    assert "await self.add_request(" in source
    assert source.index("except (VLLMClientError, GracefulHTTPError") < source.index("raise EngineGenerateError()")
    entering = inspect.getsource(AsyncLLM._add_request)
    assert entering.index("output_processor.add_request(") < entering.index("await self.engine_core.add_request_async(")
    assert "abort" not in entering
    assert list(inspect.signature(AsyncLLM.abort).parameters)[1:] == ["request_id", "internal"]


def test_vllm_still_finishes_what_a_grammar_ends_without_a_word() -> None:
    """Once it says why, telling a dead end from the outside can go."""
    source = inspect.getsource(Scheduler)
    assert "grammar rejected tokens" in source
    assert "grammar_compile_error_reqs" in source


def test_vllm_still_answers_itself_what_a_handler_of_messages_raises() -> None:
    """Once its exceptions reach the app, noting them can go."""
    for name in ("create_messages", "count_tokens"):
        source = inspect.getsource(getattr(messages_api, name))
        assert f"handler.{name}(request, raw_request)" in source
        assert "except Exception" in source


def test_vllms_exception_handlers_are_those_that_ours_stand_in_for() -> None:
    named = set(re.findall(r"app\.exception_handler\((\w+)\)", inspect.getsource(init_exception_handler)))
    assert named <= {kind.__name__ for kind in HANDLED} | {"Exception"}
    assert VLLMError.__name__ in named


# All in two places


OURS = re.compile(r"(self|cls|record|attempt|args|app\.state)\b")
"""Objects of our own."""

DATA = {
    "request.mm_processor_kwargs": "a request's own fields",
    "config.mrope_section": "a checkpoint's configuration, which vLLM hands over to be changed",
    "text.max_position_embeddings": "the same, while the model is built",
    "config.image_token_id": "the same, where the checkpoint names no id",
    "response.body": "one answer",
    "model.root": "one answer",
    "response.body_iterator": "one answer",
    "values.ValueClass": "how prometheus_client is told what keeps a process's samples",
}
"""Attributes that are meant to be written, and whose they are."""


def assigned(source: str) -> set[str]:
    """The attributes that a module writes on objects that are not its own."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(ctx=ast.Store() | ast.Del()):
                found.add(ast.unparse(node))
            case ast.Call(func=ast.Name(id="setattr" | "delattr"), args=[target, name, *_]):
                found.add(f"{ast.unparse(target)}.{ast.unparse(name)}")
    return {name for name in found if not OURS.match(name) and name not in DATA}


def test_nothing_of_vllms_is_rebound_outside_the_two_modules_for_it() -> None:
    offline = {"demo", "evaluation"}
    modules = {
        path.relative_to(root.parent).as_posix(): path
        for root in (Path(sppruner_vllm.__file__).parent, Path(sppruner_server.__file__).parent)
        for path in root.rglob("*.py")
        if offline.isdisjoint(path.parts)
    }
    rebinding = {name for name, path in modules.items() if assigned(path.read_text())}
    names = ("following", "grammars", "processes", "rendering", "workers")
    compat = {f"sppruner_vllm/compat/{name}.py" for name in names}
    assert rebinding == {*compat, "server/hooks.py"}
