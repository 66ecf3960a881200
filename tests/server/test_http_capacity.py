"""The capacity calculator against the real server under a real load: what must hold by counting, and nothing timed."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from loadtest.process import run_locust
from serving import CPU_ENVIRONMENT, eventually
from sppruner_vllm.evaluation.capacity import main
from sppruner_vllm.evaluation.capacity_memory import Pool, blocks_per_request, pool, read_kv_shape, usage
from sppruner_vllm.evaluation.capacity_rate import little, replica_rate
from sppruner_vllm.evaluation.capacity_results import measurement
from sppruner_vllm.evaluation.capacity_tokens import Request, prompt_tokens, read_patches, visual_tokens

RATIO = 0.25
OUTPUT = 40
SIZE = (448, 336)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the loads leave their reports."""
    return tmp_path_factory.mktemp("capacity")


@pytest.fixture(scope="module")
def load(server, folder):
    """Runs a load of the same questions and pictures at a keep ratio and a concurrency."""

    def run(ratio, users):
        work = {"sessions": 12 * users, "image_size": "x".join(map(str, SIZE)), "max_tokens": OUTPUT, "seed": 7}
        how = {"ignore_eos": True, "poll": 0.02, "users": users, "keep_ratios": ratio}
        return run_locust(server.url, folder / f"ratio-{ratio}-users-{users}", {**work, **how})

    return run


@pytest.fixture(scope="module")
def alone(load):
    """One request at a time, with all visual tokens."""
    return load(1, 1)


@pytest.fixture(scope="module")
def together(load):
    """Three at a time, with a quarter of the visual tokens."""
    return load(RATIO, 3)


@pytest.fixture(scope="module")
def cache(client, alone):
    """vLLM's KV cache as its metrics tell it."""
    families = text_string_to_metric_families(client.get("/metrics").text)
    info = next(family.samples[0].labels for family in families if family.name == "vllm:cache_config_info")
    return int(info["num_gpu_blocks"]), int(info["block_size"])


@pytest.fixture(scope="module")
def of(cache, tiny_model) -> Pool:
    """The same from a number of bytes and the checkpoint's config."""
    kv_bytes = float(CPU_ENVIRONMENT["VLLM_CPU_KVCACHE_SPACE"]) * 2**30
    return pool(kv_bytes, cache[1], read_kv_shape(tiny_model))


def blocks_in_use(result, of):
    """Whole numbers of blocks, of every reading with a request under way."""
    readings = [reading["kv_cache_usage"] * of.usable for reading in result["sppruner"]["server"]["readings"]]
    assert readings == pytest.approx([round(blocks) for blocks in readings], abs=1e-6)
    return {round(blocks) for blocks in readings} - {0}


def test_the_bytes_of_the_config_hold_as_many_blocks_as_vllm_made(cache, of):
    assert (of.blocks, of.block_size) == cache


def test_prompt_lengths_at_a_ratio_follow_exactly_from_those_at_ratio_1(tiny_model, alone, together):
    tokens = visual_tokens(*SIZE, read_patches(tiny_model))
    assert {request["visual_original"] for request in alone["sppruner"]["requests"]} == {tokens}
    texts = [length - tokens for length in alone["input_lens"]]
    predicted = [prompt_tokens(Request((tokens,), text, OUTPUT), RATIO) for text in texts]
    sessions = [request["session"] for request in together["sppruner"]["requests"]]
    measured = dict(zip(sessions, together["input_lens"], strict=True))
    assert [measured[session] for session in range(len(predicted))] == predicted


def test_one_request_holds_the_blocks_that_were_predicted(load, alone, of):
    least = min(blocks_per_request(prompt, 1, of.block_size) for prompt in alone["input_lens"])
    most = max(blocks_per_request(prompt, OUTPUT, of.block_size) for prompt in alone["input_lens"])
    assert least < most  # a request grows by a block or two: both ends are told apart
    seen = blocks_in_use(alone, of)

    def all_of_it_was_seen() -> bool:
        """Whether a reading fell into the last block of a request; a busy machine takes few, and needs another run."""
        if most not in seen:
            seen.update(blocks_in_use(load(1, 1), of))
        return most in seen

    assert eventually(all_of_it_was_seen)
    assert seen <= set(range(least, most + 1))


def test_the_cache_in_use_never_exceeds_what_was_predicted_from_a_request_alone(load, alone, together, of):
    request = measurement(alone).request
    bound = usage(3, prompt_tokens(request, RATIO) + _spread(alone), OUTPUT, of)
    one = usage(1, prompt_tokens(request, RATIO) - _spread(alone), 1, of)
    peaks = [_peak(together)]

    def more_than_one_was_seen() -> bool:
        """Whether a reading fell where requests overlap; a busy machine takes few, and needs another run."""
        if max(peaks) <= one:
            peaks.append(_peak(load(RATIO, 3)))
        return max(peaks) > one

    assert eventually(more_than_one_was_seen)
    assert max(peaks) <= bound + 1e-9


def _peak(result):
    return result["sppruner"]["server"]["kv_cache_usage"]["max"]


def _spread(result):
    """Tokens by which the longest and the shortest prompt differ: the calculator works with the mean."""
    return max(result["input_lens"]) - min(result["input_lens"])


def test_users_over_latency_are_the_requests_per_second_that_were_counted(alone, together):
    for result in (alone, together):
        found = measurement(result)
        counted = result["request_throughput"]
        # Users idle at the end, while the last ones are still served, and between two requests: that sets them apart.
        busy = result["completed"] * found.latency(OUTPUT) / result["duration"]
        assert busy <= found.users
        assert little(busy, found.latency(OUTPUT)) == pytest.approx(counted, rel=1e-6)
        assert replica_rate(found, OUTPUT).per_second == pytest.approx(counted, rel=1e-6)


def test_the_command_reads_the_reports_of_the_run(tiny_model, folder, alone, together, capsys):
    sizes = ["--kv-gib", "1", "--block-size", "32", "--users", "3"]
    assert main([str(folder), "--model", str(tiny_model), *sizes, "--markdown"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "| keep ratio | 1 | 0.25 |" in lines
    assert "| basis | — | measured |" in lines
