"""One answer for all processes of a server, in prometheus_client's multi-process mode."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

PROCESS = """
import os
from sppruner_vllm.metrics import events as metrics
from sppruner_vllm.planning.accounting import VisualTokens
from sppruner_vllm.settings import Settings

metrics.start("1", "2", Settings(keep_ratio=0.5))
tokens = VisualTokens(64, 16, 0.25, "uniform", None)
serving = metrics.in_flight()
serving.__enter__()
metrics.count_request("success")
metrics.count_visual_tokens(tokens)
metrics.count_prefill(tokens, 16)
metrics.observe_first_token(tokens, 0.3)
metrics.observe_selection("uniform", 0.003)
print(os.getpid(), flush=True)
os._exit(0)  # in the middle of a request
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("metrics")


@pytest.fixture(scope="module")
def pids(folder: Path) -> list[int]:
    """The processes that served, as API servers and workers do."""
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)}
    command = [sys.executable, "-c", PROCESS]
    running = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) for _ in range(2)]
    return [int(process.communicate()[0]) for process in running]


class Scrape:
    """What /metrics has: the samples of the folder."""

    def __init__(self, folder: Path) -> None:
        registry = CollectorRegistry()
        MultiProcessCollector(registry, path=str(folder))
        self.registry = registry
        self.samples = [sample for family in registry.collect() for sample in family.samples]

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


def test_counters_and_histograms_are_sums(folder: Path, pids: list[int]) -> None:
    scrape = Scrape(folder)
    assert scrape.value("sppruner_requests_total", outcome="success") == 2
    assert scrape.value("sppruner_visual_tokens_original_total", modality="image") == 128
    assert scrape.value("sppruner_kv_tokens_saved_total") == 96
    assert scrape.value("sppruner_retained_ratio_bucket", le="0.25") == 2
    assert scrape.value("sppruner_selection_seconds_count", method="uniform") == 2
    assert scrape.value("sppruner_time_to_first_token_seconds_count", ratio_band="0.1-0.25") == 2


def test_facts_are_there_once_and_no_series_is_of_a_process(folder: Path, pids: list[int]) -> None:
    scrape = Scrape(folder)
    facts = [sample for sample in scrape.samples if sample.name in ("sppruner_build_info", "sppruner_keep_ratio_limit")]
    assert sorted(sample.labels.get("bound", "build") for sample in facts) == ["build", "default", "max", "min"]
    assert scrape.value("sppruner_keep_ratio_limit", bound="default") == 0.5
    assert not [sample for sample in scrape.samples if "pid" in sample.labels]


def test_a_second_process_adds_no_series(folder: Path, pids: list[int], tmp_path: Path) -> None:
    for file in folder.glob(f"*_{pids[0]}.db"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    alone, both = ({(s.name, *s.labels.items()) for s in Scrape(path).samples} for path in (tmp_path, folder))
    assert alone == both


def test_requests_in_flight_are_those_of_the_processes_that_live(folder: Path, pids: list[int]) -> None:
    assert Scrape(folder).value("sppruner_requests_in_flight") == 2
    mark_process_dead(pids[0], str(folder))
    assert Scrape(folder).value("sppruner_requests_in_flight") == 1
