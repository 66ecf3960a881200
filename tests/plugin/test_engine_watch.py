"""What is counted of the engine's answers: vLLM's own output objects from an engine that says what it is told to."""

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from sppruner_server.engine import watch
from sppruner_server.engine.watch import uncached
from sppruner_server.hooks import install_watch
from sppruner_server.request.record import recording
from vllm.multimodal.inputs import PlaceholderRange
from vllm.outputs import CompletionOutput, RequestOutput
from vllm.sampling_params import RequestOutputKind, SamplingParams
from vllm.v1.metrics.stats import RequestStateStats

from sppruner_vllm.planning.accounting import ENGINE_INPUT_KEY, VisualTokens

ARRIVED = 1000.0
TOKENS = VisualTokens(64, 16, 0.25, "uniform", None)
PLACES = {"image": [PlaceholderRange(5, 16)]}


def answer(*choices, finished=False, cached=0, first=0.25, stats=True, delay=0.0):
    """A RequestOutput with the token ids of each choice.

    vLLM took it up `delay` seconds after it arrived at our route, and had its first token `first` seconds later.
    """
    return RequestOutput(
        request_id="a",
        prompt=None,
        prompt_token_ids=[1],
        prompt_logprobs=None,
        outputs=[CompletionOutput(index, "", list(ids), None, None) for index, ids in enumerate(choices)],
        finished=finished,
        num_cached_tokens=cached,
        metrics=RequestStateStats(arrival_time=ARRIVED + delay, first_token_latency=first) if stats else None,
    )


@dataclass
class Seen:
    """What was counted."""

    computed: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    generated: list[int] = field(default_factory=list)


@pytest.fixture
def seen(monkeypatch):
    counted = Seen()
    monkeypatch.setattr(watch, "count_prefill", lambda tokens, computed: counted.computed.append(computed))
    monkeypatch.setattr(watch, "observe_first_token", lambda tokens, s: counted.seconds.append(s))
    monkeypatch.setattr(watch, "count_output", lambda tokens, generated: counted.generated.append(generated))
    return counted


class Engine:
    """Stands for vLLM's engine client."""

    def __init__(self, *outputs: Any) -> None:
        self.outputs = outputs
        self.closed = False
        self.options: dict[str, Any] = {}
        install_watch(self)

    async def generate(self, prompt, sampling_params, request_id, **options):
        self.options = options
        try:
            for output in self.outputs:
                if isinstance(output, Exception):
                    raise output
                yield output
        finally:
            self.closed = True


def prompt(tokens: VisualTokens | None = TOKENS) -> dict[str, Any]:
    return {"type": "multimodal", "mm_placeholders": PLACES, ENGINE_INPUT_KEY: tokens}


def ask(engine: Engine, rendered: Any, *, stream: bool = False, ours: bool = True, take: int = 99):
    """The outputs that a handler of ours, or another one, gets; it leaves after `take`."""
    params = SamplingParams(output_kind=RequestOutputKind.DELTA if stream else RequestOutputKind.FINAL_ONLY)

    async def handle():
        outputs = engine.generate(rendered, params, "a")
        got = []
        async for output in outputs:
            got.append(output)
            if len(got) == take:
                break
        await outputs.aclose()
        return got

    if not ours:
        return asyncio.run(handle())
    with recording() as record:
        record.accounts.append(TOKENS)
        record.arrived = ARRIVED
        return asyncio.run(handle())


def test_outputs_pass_as_they_are(seen):
    outputs = answer([1]), answer([2], finished=True)
    assert ask(Engine(*outputs), prompt(), stream=True) == list(outputs)


def test_a_whole_answer_counts_its_tokens_and_the_time_that_vllm_noted(seen):
    ask(Engine(answer([1, 2, 3], finished=True, first=0.25)), prompt())
    assert seen.generated == [3]
    assert seen.seconds == [0.25]
    assert seen.computed == [16]


def test_a_stream_counts_like_a_whole_answer(seen):
    ask(Engine(answer([1], first=0.25), answer([2, 3]), answer([], finished=True)), prompt(), stream=True)
    assert seen.generated == [3]
    assert seen.seconds == [0.25]
    assert seen.computed == [16]


def test_the_time_runs_from_the_arrival_at_our_route_and_not_from_vllms(seen):
    ask(Engine(answer([1], finished=True, first=0.25, delay=3.0)), prompt())
    assert seen.seconds == [3.25]


def test_all_choices_of_a_request_count_and_the_prompt_once(seen):
    ask(Engine(answer([1, 2], [3, 4], finished=True)), prompt())
    ask(Engine(answer([1], [2]), answer([3], [4], finished=True)), prompt(), stream=True)
    assert seen.generated == [4, 4]
    assert len(seen.computed) == len(seen.seconds) == 2


def test_an_output_without_a_token_is_not_the_first(seen):
    ask(Engine(answer([], first=9), answer([1], finished=True, first=0.25)), prompt(), stream=True)
    assert seen.seconds == [0.25]


def test_a_prompt_that_the_engine_refused_counts_nothing(seen):
    with pytest.raises(ValueError, match="too long"):
        ask(Engine(ValueError("too long")), prompt())
    assert seen == Seen()


def test_a_client_that_leaves_has_its_tokens_counted_and_frees_the_engine(seen):
    engine = Engine(answer([1]), answer([2]), answer([3], finished=True))
    ask(engine, prompt(), stream=True, take=2)
    assert seen.generated == [2]
    assert engine.closed


def test_a_prompt_rendered_again_after_a_tool_call_only_adds_output(seen):
    again = VisualTokens(64, 16, 0.25, "uniform", None)  # equal, but of a later rendering
    ask(Engine(answer([1], finished=True)), prompt(again))
    assert seen == Seen(generated=[1])


@pytest.mark.parametrize(
    ("rendered", "ours"),
    [(prompt(None), True), (prompt(VisualTokens(0, 0, 1.0, "uniform", None)), True), ("text", True), (prompt(), False)],
    ids=["no image", "nothing placed", "plain text", "another route"],
)
def test_what_is_not_ours_to_count_passes_untouched(seen, rendered, ours):
    assert len(ask(Engine(answer([1], finished=True)), rendered, ours=ours)) == 1
    assert seen == Seen()


def test_without_vllms_statistics_only_streams_tell_the_time(seen):
    ask(Engine(answer([1], finished=True, stats=False)), prompt())
    assert seen.seconds == []
    ask(Engine(answer([1], stats=False), answer([2], finished=True, stats=False)), prompt(), stream=True)
    assert len(seen.seconds) == 1
    assert seen.generated == [1, 2]


def test_what_the_prefix_cache_held_was_not_computed(seen):
    ask(Engine(answer([1], finished=True, cached=8)), prompt())
    assert seen.computed == [13]  # 5 tokens of text and 3 of the image were cached


@pytest.mark.parametrize(
    ("cached", "computed"), [(0, 24), (5, 24), (6, 23), (21, 8), (28, 8), (30, 8), (34, 4), (38, 0), (99, 0)]
)
def test_images_count_from_where_the_cache_ends(cached, computed):
    assert uncached([(5, 16), (30, 8)], cached, retained=24) == computed


def test_no_more_than_was_retained_counts_as_computed():
    assert uncached([(5, 18)], 0, retained=16) == 16


def test_a_handler_that_is_traced_hands_its_span_to_the_engine(seen, monkeypatch):
    monkeypatch.setattr(watch, "engine_trace_headers", lambda: {"traceparent": "ours"})
    engine = Engine(answer([1], finished=True))
    ask(engine, prompt())
    assert engine.options["trace_headers"] == {"traceparent": "ours"}
    ask(engine, prompt(), ours=False)
    assert "trace_headers" not in engine.options


def test_vllms_client_has_the_method_that_is_wrapped():
    import inspect

    from vllm.v1.engine.async_llm import AsyncLLM

    assert {"prompt", "sampling_params", "trace_headers"} <= set(inspect.signature(AsyncLLM.generate).parameters)
    assert inspect.isasyncgenfunction(AsyncLLM.generate)
    client = SimpleNamespace(generate=AsyncLLM.generate)
    install_watch(client)
    assert client.generate is not AsyncLLM.generate
