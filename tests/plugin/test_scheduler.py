"""Steps are filled by what the encoder really does, with vLLM's own schedulers and a user's."""

from __future__ import annotations

import pickle
import random
from pathlib import Path
from typing import Any

import pytest
from scheduling import Picture, Step, Steps, configured
from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.scheduler import Scheduler

from sppruner_vllm import wire
from sppruner_vllm.engine import encoder_budget
from sppruner_vllm.engine.config import ChargingSchedulerConfig
from sppruner_vllm.engine.scheduler import ChargingScheduler, charging

BUDGET = 512
"""Prompt tokens of a step; what vLLM takes for the encoder's is more, as its largest picture is."""


class TheirScheduler(AsyncScheduler):
    """A user's own."""

    steps = 0

    def schedule(self, *args: Any, **kwargs: Any) -> Any:
        self.steps += 1
        return super().schedule(*args, **kwargs)


def steps(model: Path, blocks: int = 4096, compute: int | None = None, **options: Any) -> Steps:
    return Steps(configured(model, max_num_batched_tokens=BUDGET, **options), blocks, compute)


def names(taken: list[Step]) -> list[list[str]]:
    """The pictures of each step that encodes any."""
    return [[picture.name for picture in step.pictures] for step in taken if step.pictures]


Asked = tuple[list[int], int, int]
"""Tokens of the pictures of a request, of the text before each, and of the text after the last."""


def run(model: Path, requests: list[Asked], ratio: float, compute: int | None = None) -> list[Step]:
    """The steps of some requests; at ratio 1 of vLLM's own scheduler. Pictures go by the same names each time."""
    scheduler = Scheduler if ratio == 1 else ChargingScheduler
    asked = Steps(configured(model, max_num_batched_tokens=BUDGET), compute=compute, scheduler=scheduler)
    for number, (sizes, before, after) in enumerate(requests):
        pictures = [Picture(n, max(2, int(n * ratio)), f"{number} {index}") for index, n in enumerate(sizes)]
        asked.ask(*pictures, before=before, after=after)
    return asked.run()


def ends(taken: list[Step]) -> dict[str, int]:
    """How much was encoded when each request had its answer."""
    encoded, found = 0, {}
    for step in taken:
        encoded += step.encoded
        found |= dict.fromkeys(step.finished, encoded)
    return found


@pytest.mark.parametrize(("size", "compute"), [(100, None), (130, BUDGET), (500, None)])
def test_every_step_encodes_what_it_would_unreduced(tiny_model: Path, size: int, compute: int | None) -> None:
    requests: list[Asked] = [([size], 4, 20)] * 12
    stock = names(run(tiny_model, requests, 1, compute))
    for ratio in (0.9, 0.5, 0.222, 0.05):
        assert names(run(tiny_model, requests, ratio, compute)) == stock


def mixed(seed: int) -> list[Asked]:
    choose = random.Random(seed)
    sizes = (20, 100, choose.randint(5, BUDGET), choose.randint(5, BUDGET))
    return [
        (choose.choices(sizes, k=choose.randint(1, 3)), choose.randint(0, 20), choose.randint(1, 90))
        for _ in range(choose.randint(3, 30))
    ]


@pytest.mark.parametrize("seed", range(8))
def test_no_answer_waits_for_more_of_the_encoder_than_unreduced(tiny_model: Path, seed: int) -> None:
    requests = mixed(seed)
    stock = run(tiny_model, requests, 1)
    for ratio in (0.9, 0.5, 0.1):
        reduced = run(tiny_model, requests, ratio)
        assert names(reduced) == names(stock)
        late = {name: end for name, end in ends(reduced).items() if end > ends(stock)[name]}
        assert not late, f"at ratio {ratio}"


def test_unreduced_pictures_are_scheduled_as_stock_does(tiny_model: Path) -> None:
    taken = []
    for scheduler in (Scheduler, ChargingScheduler):
        asked = Steps(configured(tiny_model, max_num_batched_tokens=BUDGET), scheduler=scheduler)
        for size in (100, 300, 40, 1000, 7, 250):
            asked.ask(Picture(size, size, f"a{size}"), Picture(size // 2, size // 2, f"b{size}"), tokens=3)
        taken.append([(step.tokens, [picture.name for picture in step.pictures]) for step in asked.run()])
    assert taken[0] == taken[1]


def test_a_request_of_many_pictures_takes_several_steps(tiny_model: Path) -> None:
    asked = steps(tiny_model)
    asked.ask(*(Picture(200, 20) for _ in range(5)))
    assert [step.encoded for step in asked.run()] == [600, 400]


def test_the_cache_of_rows_is_counted_in_rows(tiny_model: Path) -> None:
    asked = steps(tiny_model)
    manager = asked.scheduler.encoder_cache_manager
    free = manager.num_free_slots
    asked.ask(Picture(400, 30))
    asked.ask(Picture(400, 40))
    asked.run()
    assert manager.num_free_slots == free - 70


def test_pictures_that_are_cached_cost_the_encoder_nothing(tiny_model: Path) -> None:
    asked = steps(tiny_model)
    asked.ask(Picture(300, 30, "same"))
    asked.ask(Picture(300, 30, "same"))
    asked.ask(Picture(60, 6, "other"))
    assert names(asked.run()) == [["same", "other"]]


def test_a_picture_beyond_the_whole_budget_runs_alone_and_holds_no_one_up(tiny_model: Path) -> None:
    asked = steps(tiny_model, compute=BUDGET)
    for name in ("first", "huge", "last"):
        asked.ask(Picture(2000 if name == "huge" else 50, 5, name), before=0)
    taken = names(asked.run())
    assert ["huge"] in taken
    assert sorted(name for step in taken for name in step) == ["first", "huge", "last"]


def test_reduced_and_whole_pictures_share_a_step_as_far_as_the_encoder_goes(tiny_model: Path) -> None:
    asked = steps(tiny_model, compute=BUDGET)
    asked.ask(Picture(300, 30, "reduced"))
    asked.ask(Picture(100, 100, "whole"))
    asked.ask(Picture(150, 150, "too much"))
    assert names(asked.run()) == [["reduced", "whole"], ["too much"]]


def test_other_media_are_charged_as_stock_does(tiny_model: Path) -> None:
    asked = steps(tiny_model)
    name = asked.ask(Picture(100, 100), Picture(300, 300))
    for feature in asked.scheduler.requests[name].mm_features:
        feature.data.clear()
    assert sum(len(step.pictures) for step in asked.run()) == 2


def test_preemption_encodes_within_the_budget(tiny_model: Path) -> None:
    asked = steps(tiny_model, blocks=14, max_model_len=200, scheduling_policy="priority")
    for priority in range(6):
        asked.ask(Picture(240, 24), tokens=60, priority=6 - priority)
    preempted = []
    upstream = asked.scheduler._preempt_request
    asked.scheduler._preempt_request = lambda *given, **more: (preempted.append(given[0]), upstream(*given, **more))
    taken = asked.run()
    assert preempted
    assert max(step.encoded for step in taken) <= BUDGET
    assert {name for step in taken for name in step.finished} == {str(number) for number in range(6)}


SMALL_PICTURES = {"mm_processor_kwargs": {"max_pixels": 300 * 28 * 28}, "limit_mm_per_prompt": {"video": 0}}


@pytest.mark.parametrize("options", [{"enable_prefix_caching": False}, {"disable_chunked_mm_input": True}], ids=str)
def test_modes_of_the_scheduler_keep_to_the_budget(tiny_model: Path, options: dict[str, Any]) -> None:
    asked = steps(tiny_model, **SMALL_PICTURES, **options)
    for _ in range(4):
        asked.ask(Picture(200, 190), Picture(200, 100), before=30, tokens=3)
    taken = asked.run()
    assert max(step.encoded for step in taken) <= BUDGET
    assert sum(len(step.pictures) for step in taken) == 8


def test_the_asynchronous_scheduler_keeps_to_the_budget(tiny_model: Path) -> None:
    config = configured(tiny_model, max_num_batched_tokens=BUDGET)
    config.scheduler_config.async_scheduling = True  # a CPU's configuration turns it off
    asked = Steps(config)
    assert isinstance(asked.scheduler, AsyncScheduler)
    for _ in range(4):
        asked.ask(Picture(200, 20), tokens=3)
    assert [len(step) for step in names(asked.run())] == [3, 1]


def test_the_look_ahead_of_a_draft_model_keeps_to_the_budget(tiny_model: Path) -> None:
    asked = steps(tiny_model, compute=BUDGET)
    asked.scheduler.num_prefill_lookahead = 1
    for _ in range(6):
        asked.ask(Picture(200, 20), Picture(200, 190))
    taken = asked.run()
    assert max(step.encoded for step in taken) <= BUDGET
    assert sum(len(step.pictures) for step in taken) == 12


def test_rows_from_another_machine_cost_the_encoder_nothing(tiny_model: Path, tmp_path: Path) -> None:
    connector = {"ec_connector": "ECExampleConnector", "ec_role": "ec_consumer"}
    extra = {"ec_connector_extra_config": {"shared_storage_path": str(tmp_path)}}
    asked = steps(tiny_model, compute=BUDGET, ec_transfer_config=connector | extra)
    for name in ("there 0", "there 1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "encoder_cache.safetensors").touch()
    asked.ask(Picture(400, 40, "there 0"), Picture(400, 40, "here"), Picture(400, 40, "there 1"))
    assert names(asked.run()) == [["here"]]


def test_the_size_of_a_waiting_picture_is_read_once(tiny_model: Path, monkeypatch: Any) -> None:
    read = []
    monkeypatch.setattr(encoder_budget, "decode_item", lambda item: read.append(item) or wire.decode_item(item))
    asked = steps(tiny_model)
    for _ in range(12):
        asked.ask(Picture(300, 30))
    assert len(asked.run()) > 4
    assert len(read) == 12


def test_plain_vllm_gets_our_scheduler_without_a_flag(tiny_model: Path) -> None:
    config = configured(tiny_model).scheduler_config
    assert type(config) is ChargingSchedulerConfig
    assert config.scheduler_cls is None
    config.async_scheduling = False
    assert issubclass(config.get_scheduler_cls(), ChargingScheduler)
    assert not issubclass(config.get_scheduler_cls(), AsyncScheduler)
    config.async_scheduling = True
    assert issubclass(config.get_scheduler_cls(), AsyncScheduler)


def test_the_configuration_reaches_another_process_with_its_choice(tiny_model: Path) -> None:
    config = configured(tiny_model, scheduler_cls=f"{__name__}.TheirScheduler")
    there = pickle.loads(pickle.dumps(config)).scheduler_config.get_scheduler_cls()
    assert issubclass(there, ChargingScheduler)
    assert issubclass(there, TheirScheduler)


@pytest.mark.parametrize("given", [TheirScheduler, f"{__name__}.TheirScheduler"])
def test_a_users_own_scheduler_keeps_what_it_does_and_charges_whole_pictures(tiny_model: Path, given: Any) -> None:
    asked = steps(tiny_model, scheduler_cls=given)
    for _ in range(4):
        asked.ask(Picture(200, 20))
    assert [len(step) for step in names(asked.run())] == [3, 1]
    assert asked.scheduler.steps == 2


@pytest.mark.parametrize("searches", [False, True])
def test_only_a_scheduler_that_searches_its_own_way_is_asked_for_pictures_that_are_behind(
    tiny_model: Path, searches: bool
) -> None:
    searched = []

    class Searching(Scheduler):
        def _try_schedule_encoder_inputs(self, request: Any, first: int, *args: Any, **kwargs: Any) -> Any:
            searched.append(first)
            return super()._try_schedule_encoder_inputs(request, first, *args, **kwargs)

    asked = steps(tiny_model, scheduler_cls=Searching if searches else TheirScheduler)
    asked.ask(Picture(200, 20), before=4, after=20, tokens=3)
    assert [(len(step.pictures), step.tokens) for step in asked.run()] == [(1, 44), (0, 1), (0, 1)]
    assert searched == ([0, 44, 45] if searches else [])


def test_what_already_charges_and_what_is_no_scheduler_of_vllms_are_left_alone() -> None:
    class Foreign:
        pass

    class Derived(ChargingScheduler):
        pass

    assert charging(Foreign) is Foreign
    assert charging(Derived) is Derived


def test_an_entry_of_vllms_for_the_same_architecture_still_runs(tiny_model: Path, monkeypatch: Any) -> None:
    from vllm.model_executor.models.config import MODELS_CONFIG_MAP, VerifyAndUpdateConfig

    from sppruner_vllm import registration

    seen = []

    class Upstream(VerifyAndUpdateConfig):
        @staticmethod
        def verify_and_update_config(vllm_config: Any) -> None:
            seen.append("engine")

        @staticmethod
        def verify_and_update_model_config(model_config: Any) -> None:
            seen.append("model")

    architecture = "Qwen2_5_VLForConditionalGeneration"
    monkeypatch.setitem(MODELS_CONFIG_MAP, architecture, registration._configuring(architecture, Upstream))
    config = configured(tiny_model)
    assert seen == ["model", "engine"]
    assert type(config.scheduler_config) is ChargingSchedulerConfig
