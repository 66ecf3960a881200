"""Which requests are asked again, what for, and when that is given up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import REGISTRY
from real_renderer import real_renderer
from sppruner_server.errors.refusal import Refusal
from sppruner_server.hooks import install_gate, install_withdrawal
from sppruner_server.lifecycle.drain import InFlight
from sppruner_server.request.record import RequestRecord, recording
from sppruner_server.routes.requests import ChatRequest
from sppruner_server.shadow.candidate import CANDIDATE, Candidate, remembering
from sppruner_server.shadow.cap import HOUR, HourlyCap
from sppruner_server.shadow.comparison import CANDIDATES, LONGEST, asked_again, compare, is_greedy
from sppruner_server.shadow.report import interval, report
from sppruner_server.shadow.shadow import LAST, Shadow
from vllm.renderers.online_renderer import OnlineRenderer
from vllm.sampling_params import RequestOutputKind, SamplingParams, StructuredOutputsParams

from serving import chat_body, data_url, png
from sppruner_vllm.metrics.families import SHADOW_ANSWERS, SHADOW_GAP, SHADOW_GIVEN_UP
from sppruner_vllm.planning.accounting import VisualTokens

PICTURE = data_url(png(448, 448))
TOKENS = VisualTokens(100, 20, 0.2, "focus_context", None)
WHOLE = VisualTokens(100, 100, 1.0, "focus_context", "keep_ratio_is_1")
GREEDY = SamplingParams(temperature=0, max_tokens=9)
STOPPING = Refusal(503, "shutting_down", "stopping")


def output(reason: str | None, *tokens: int, index: int = 0, logprobs: Any = None) -> SimpleNamespace:
    choice = SimpleNamespace(index=index, finish_reason=reason, token_ids=list(tokens), logprobs=logprobs)
    return SimpleNamespace(outputs=[choice])


def likely(**tokens: float) -> dict[int, SimpleNamespace]:
    return {int(name[1:]): SimpleNamespace(logprob=value) for name, value in tokens.items()}


class Engine:
    """Stands for AsyncLLM: the last answer may wait for ever."""

    def __init__(self, *outputs: Any, waits: bool = False) -> None:
        self.outputs, self.waits = outputs, waits
        self.asked: list[tuple[Any, Any, dict[str, Any]]] = []
        self.begun = asyncio.Event()
        self.closed = False

    async def generate(
        self, prompt: Any, params: Any, request_id: str = "", **kwargs: Any
    ) -> AsyncGenerator[Any, None]:
        self.asked.append((prompt, params, kwargs))
        self.begun.set()
        try:
            if self.waits:
                await asyncio.Event().wait()
            for one in self.outputs:
                yield one
        finally:
            self.closed = True


def shadow(engine: Engine, requests: InFlight, **more: Any) -> Shadow:
    known: dict[str, Any] = {"share": 1, "most_in_flight": 0, "most_logprobs": 20, "by_priority": True}
    cap = more.pop("cap", HourlyCap(10, 0, 1))
    return Shadow(engine.generate, requests, cap, **{**known, **more})


async def render() -> dict[str, Any]:
    return {"prompt": "whole"}


def candidate(*answer: int, params: Any = GREEDY, whole: bool = True, **carried: Any) -> Candidate:
    return Candidate(TOKENS, render, params, carried, list(answer), whole)


def count(family: Any, **labels: str) -> float:
    return REGISTRY.get_sample_value(family, labels) or 0.0


def answers(agreement: str) -> float:
    return count(SHADOW_ANSWERS.scraped_name, agreement=agreement, ratio_band="0.1-0.25")


def given_up(reason: str) -> float:
    return count(SHADOW_GIVEN_UP.scraped_name, reason=reason)


async def until_over(one: Shadow) -> None:
    if (task := one._task) is not None:
        await asyncio.wait([task])


def test_reduced_requests_alone_are_chosen() -> None:
    one = shadow(Engine(), InFlight())
    prompt: dict[str, Any] = {}
    assert one.choose(prompt, WHOLE, render) is None
    assert prompt == {}
    assert one.choose(prompt, TOKENS, render) is prompt[CANDIDATE]


def test_about_its_share_is_chosen() -> None:
    one = shadow(Engine(), InFlight(), share=0.5)
    chosen = sum(one.choose({}, TOKENS, render) is not None for _ in range(2000))
    assert 700 < chosen < 1300  # 13 standard deviations


@pytest.mark.parametrize("kind", list(RequestOutputKind))
def test_the_first_choices_answer_is_remembered_whole(kind: RequestOutputKind) -> None:
    params = SamplingParams(temperature=0, output_kind=kind)
    told = {
        RequestOutputKind.DELTA: [output(None, 1, 2), output(None, 7, index=1), output("stop", 3)],
        RequestOutputKind.CUMULATIVE: [output(None, 1, 2), output(None, 7, index=1), output("stop", 1, 2, 3)],
        RequestOutputKind.FINAL_ONLY: [output("stop", 1, 2, 3)],
    }[kind]
    found = Candidate(TOKENS, render)

    async def serve() -> list[Any]:
        generate = remembering(Engine(*told).generate)
        return [one async for one in generate({CANDIDATE: found}, params, "id", lora_request="adapter")]

    assert asyncio.run(serve()) == told
    assert (found.answer, found.whole, found.carried) == ([1, 2, 3], True, {"lora_request": "adapter"})


def test_an_answer_that_fails_or_is_left_is_not_whole() -> None:
    found = Candidate(TOKENS, render)

    async def serve(*told: Any) -> None:
        generate = remembering(Engine(*told).generate)
        async for _ in generate({CANDIDATE: found}, GREEDY, "id"):
            pass

    asyncio.run(serve(output("error")))
    assert not found.whole
    asyncio.run(serve(output(None, 1)))
    assert not found.whole
    asyncio.run(serve(output("length", 1)))  # sent again, with its pictures
    assert found.whole


def test_it_is_asked_with_its_own_constraints_greedily_and_no_longer() -> None:
    grammar = StructuredOutputsParams(choice=["a", "b"])
    params = SamplingParams(
        n=3,
        temperature=0.7,
        top_p=0.5,
        seed=4,
        max_tokens=500,
        min_tokens=90,
        stop=["x"],
        structured_outputs=grammar,
        repetition_penalty=1.2,
        prompt_logprobs=1,
    )
    again = asked_again(params, range(200), 20)
    assert (again.n, again.temperature, again.top_p, again.seed, again.prompt_logprobs) == (1, 0, 1, None, None)
    assert (again.max_tokens, again.min_tokens, again.logprobs) == (LONGEST, LONGEST, CANDIDATES)
    assert (again.stop, again.structured_outputs, again.repetition_penalty) == (["x"], grammar, 1.2)
    assert again.output_kind == RequestOutputKind.FINAL_ONLY
    assert (params.n, params.temperature, params.max_tokens) == (3, 0.7, 500)
    assert asked_again(params, [1], 0).logprobs is None
    assert not is_greedy(params)
    assert is_greedy(again)


def test_answers_are_compared_token_by_token() -> None:
    ranks = [likely(t1=-0.1, t2=-3.0), likely(t4=-0.5, t5=-2.5, t6=-4.0)]
    assert compare([1, 4], [1, 4], ranks).gap == 0
    assert compare([1, 5], [1, 4], ranks) == compare([1, 5, 9], [1, 4, 9], ranks)
    assert compare([1, 5], [1, 4], ranks).gap == pytest.approx(2.0)
    assert compare([1, 77], [1, 4], ranks).gap == pytest.approx(3.5)  # less likely than all that are known
    assert not compare([1, 5], [1, 4], None).same
    assert compare([1, 5], [1, 4], None).gap is None
    assert compare([3] * 99, [3] * LONGEST, None).same


@pytest.mark.parametrize(("told", "agreement"), [((1, 2), "same"), ((1, 3), "different")])
def test_a_greedy_answer_agrees_or_does_not(told: tuple[int, ...], agreement: str) -> None:
    ranks = [likely(t1=0.0), likely(t2=-1.0, t3=-0.5)]
    engine = Engine(output("length", *told, logprobs=ranks))

    async def serve() -> None:
        one = shadow(engine, InFlight())
        one.ask(candidate(1, 2, lora_request="adapter"))
        await until_over(one)

    before, gaps = answers(agreement), count(f"{SHADOW_GAP.name}_count", decoding="greedy", ratio_band="0.1-0.25")
    asyncio.run(serve())
    assert answers(agreement) == before + 1
    assert count(f"{SHADOW_GAP.name}_count", decoding="greedy", ratio_band="0.1-0.25") == gaps + 1
    prompt, params, carried = engine.asked[0]
    assert (prompt, params.max_tokens) == ({"prompt": "whole"}, 2)
    assert carried == {"priority": LAST, "lora_request": "adapter"}


def test_a_sampled_answer_is_no_agreement() -> None:
    async def serve() -> None:
        one = shadow(Engine(output("length", 1, logprobs=[likely(t1=0.0)])), InFlight())
        one.ask(candidate(1, params=SamplingParams(temperature=1)))
        await until_over(one)

    before, same = answers("sampled"), answers("same")
    asyncio.run(serve())
    assert (answers("sampled"), answers("same")) == (before + 1, same)


@pytest.mark.parametrize("one", [candidate(1, whole=False), candidate()])
def test_an_answer_that_was_cut_short_is_not_asked_again(one: Candidate) -> None:
    engine = Engine()

    async def serve() -> None:
        shadow(engine, InFlight()).ask(one)
        await asyncio.sleep(0)

    asyncio.run(serve())
    assert engine.asked == []


def test_a_request_that_comes_in_frees_the_engine() -> None:
    async def serve() -> Engine:
        engine, requests = Engine(waits=True), InFlight()
        one = shadow(engine, requests)
        one.ask(candidate(1))
        await engine.begun.wait()
        requests.enter()
        await until_over(one)
        return engine

    before = given_up("busy")
    assert asyncio.run(serve()).closed
    assert given_up("busy") == before + 1


def test_the_end_of_the_server_frees_the_engine_and_waits_for_nothing() -> None:
    async def serve() -> Engine:
        engine, requests = Engine(waits=True), InFlight()
        one = shadow(engine, requests)
        one.ask(candidate(1))
        await engine.begun.wait()
        requests.close(STOPPING)
        await requests.until_empty()  # a shadow is not in flight
        await until_over(one)
        one.ask(candidate(1))
        await until_over(one)
        assert len(engine.asked) == 1
        return engine

    before = given_up("draining")
    assert asyncio.run(serve()).closed
    assert given_up("draining") == before + 2


def test_a_busy_server_and_a_second_one_are_given_up() -> None:
    async def serve() -> None:
        engine, requests = Engine(waits=True), InFlight()
        requests.enter()
        one = shadow(engine, requests)
        one.ask(candidate(1))
        await until_over(one)
        assert engine.asked == []
        requests.leave()
        one.ask(candidate(1))
        await engine.begun.wait()
        one.ask(candidate(1))
        requests.enter()
        await until_over(one)

    before = given_up("busy")
    asyncio.run(serve())
    assert given_up("busy") == before + 3


def test_what_fails_is_counted_and_the_next_is_asked() -> None:
    async def fails() -> Any:
        raise RuntimeError("the picture is gone")

    async def serve() -> None:
        one = shadow(Engine(output("error")), InFlight())
        one.ask(Candidate(TOKENS, fails, GREEDY, {}, [1], True))
        await until_over(one)
        one.ask(candidate(1))
        await until_over(one)

    before = given_up("failed")
    asyncio.run(serve())
    assert given_up("failed") == before + 2


def test_the_hour_is_shared_out_among_processes() -> None:
    now = [0.0]
    caps = [HourlyCap(5, rank, 3, lambda: now[0]) for rank in range(3)]
    assert [taken(cap) for cap in caps] == [2, 2, 1]
    now[0] = HOUR - 1
    assert not caps[0].is_open
    now[0] = HOUR
    assert [taken(cap) for cap in caps] == [2, 2, 1]


def taken(cap: HourlyCap) -> int:
    number = 0
    while cap.is_open:
        cap.take()
        number += 1
    return number


def test_a_full_hour_is_counted() -> None:
    async def serve() -> None:
        one = shadow(Engine(), InFlight(), cap=HourlyCap(0, 0, 1))
        one.ask(candidate(1))
        await until_over(one)

    before = given_up("hourly_cap")
    asyncio.run(serve())
    assert given_up("hourly_cap") == before + 1


@pytest.fixture(scope="module")
def online(tiny_model: Path) -> Iterator[OnlineRenderer]:
    """vLLM's own renderer behind our gate, all of whose reduced requests are chosen."""
    made = real_renderer(tiny_model)
    install_gate(made, shadow(Engine(), InFlight()))
    install_withdrawal(made.renderer)
    yield made
    made.renderer.shutdown()


def rendered(online: OnlineRenderer, record: RequestRecord, **fields: object) -> Any:
    request = ChatRequest(**chat_body(PICTURE, **fields))
    (engine_input,) = asyncio.run(online.render_chat(request))[1]
    assert len(record.afterwards) == (CANDIDATE in engine_input)
    return engine_input


def test_a_reduced_request_can_be_rendered_with_every_token(online: OnlineRenderer) -> None:
    with recording() as record:
        engine_input = rendered(online, record, keep_ratio=0.25, focus_query="the corner")
        whole = asyncio.run(engine_input[CANDIDATE].render())
        assert record.visual_tokens is not None
        assert record.visual_tokens.retained == 64  # what the client is told stays
    assert [place.length for place in engine_input["mm_placeholders"]["image"]] == [64]
    assert [place.length for place in whole["mm_placeholders"]["image"]] == [256]
    assert CANDIDATE not in whole
    with recording() as record:
        plain = rendered(online, record)
    assert whole["mm_hashes"] == plain["mm_hashes"]
    assert whole["prompt_token_ids"] == plain["prompt_token_ids"]


@pytest.mark.parametrize("fields", [{}, {"keep_ratio": 1.0}, {"keep_ratio": 0.25, "use_beam_search": True, "n": 2}])
def test_no_other_request_is_chosen(online: OnlineRenderer, fields: dict[str, object]) -> None:
    with recording() as record:
        assert CANDIDATE not in rendered(online, record, **fields)


def test_a_prompt_that_is_only_counted_is_not_chosen(online: OnlineRenderer) -> None:
    with recording() as record:
        record.dry = True
        assert CANDIDATE not in rendered(online, record, keep_ratio=0.25)


def exposition() -> Iterator[str]:
    name, band = SHADOW_ANSWERS.scraped_name, 'ratio_band="0.1-0.25"'
    yield f"# TYPE {name} counter"
    yield from (
        f'{name}{{agreement="{one}",{band}}} {n}' for one, n in (("same", 18), ("different", 2), ("sampled", 5))
    )
    yield f"# TYPE {SHADOW_GAP.name} histogram"
    for bound, number in (("1.0", 19), ("+Inf", 20)):
        yield f'{SHADOW_GAP.name}_bucket{{decoding="greedy",{band},le="{bound}"}} {number}'


def test_the_report_has_a_row_for_each_band() -> None:
    text = report("\n".join(exposition()) + "\n")
    assert "| 0.1-0.25 | 20 | 90.0 [69.9, 97.2] | 5.0 | 5 |" in text
    assert "| 0.5-1 | 0 | — | — | 0 |" in text
    assert interval(0, 0) == (0, 0, 0)
