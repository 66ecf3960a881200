"""The capacity calculator: every formula against figures worked out by hand, and the command on real report files."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from loadtest.files import RESULT, save
from loadtest.sample import Sample
from loadtest.slo import Slo
from loadtest.stream import StreamedAnswer, Usage
from loadtest.summary import Setting, summarise
from sppruner_vllm.evaluation.capacity import main
from sppruner_vllm.evaluation.capacity_fleet import Fleet, Layout, Traffic, regional_peak, size_fleet
from sppruner_vllm.evaluation.capacity_memory import (
    KvShape,
    Pool,
    blocks_per_request,
    bytes_per_request,
    concurrent_requests,
    pool,
    read_kv_shape,
    usage,
)
from sppruner_vllm.evaluation.capacity_rate import Measurement, at_ratio, largest_load, little, replica_rate
from sppruner_vllm.evaluation.capacity_results import measurement, read_results
from sppruner_vllm.evaluation.capacity_sizing import Question, make_sizing
from sppruner_vllm.evaluation.capacity_tokens import (
    Patches,
    Request,
    Video,
    prompt_tokens,
    read_patches,
    retained,
    visual_tokens,
)

QWEN_7B = {
    "dtype": "bfloat16",
    "text_config": {
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "hidden_size": 3584,
    },
}
ONE_PICTURE = Request((100,), text=20, output=11)
# 2 s to the first token, 10 tokens more at 0.1 s each: 3 s; 6 users: 2 requests and 22 output tokens a second.
LOAD = Measurement(1.0, 6, 2.0, 0.1, 22.0, ONE_PICTURE)


def config(folder, values, name="config.json"):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(values))
    return folder


def result(ratio=1.0, users=2, ttft=0.3, output=11, retained=100, original=100, slo=None, scenario="single"):
    """A report as the load test writes it: users without a pause, 4 requests each, 0.1 s between tokens."""
    took = ttft + 0.1 * (output - 1)
    answer = StreamedAnswer(
        ttft, took, (0.1,) * (output - 1), Usage(20 + retained, output, original, retained), "a", None
    )
    samples = [Sample(user, 0, scenario, ratio, turn * took, 0.0, answer) for turn in range(4) for user in range(users)]
    setting = Setting("m", "steady", users, None, slo, 0.0, {"images": 2})
    return summarise(samples, setting, None, [])


# Tokens


@pytest.mark.parametrize(
    ("size", "tokens"),
    [
        ((672, 672), 24 * 24),
        ((1008, 1008), 36 * 36),
        ((640, 480), 23 * 17),  # 640 / 28 = 22.9, 480 / 28 = 17.1
        ((28, 28), 4),  # below 56 x 56 pixels an image is enlarged
        ((2000, 1000), 50 * 25),  # 2 M pixels where 1 M are allowed: sides / 1.41 = 1414 and 707, then down
    ],
)
def test_an_image_has_a_visual_token_per_28_by_28_pixels_after_resizing(size, tokens):
    assert visual_tokens(*size, Patches(14, 2, 3136, 1_003_520 if size == (2000, 1000) else 12_845_056)) == tokens


def test_a_request_keeps_the_share_of_each_image_rounded_up():
    request = Request((1296, 391), text=30, output=64)
    assert retained(request, 0.222) == 288 + 87  # 287.7 and 86.8
    assert prompt_tokens(request, 0.222) == 405
    assert prompt_tokens(request, 1) == 1717
    assert prompt_tokens(Request((), 30, 64), 0.222) == 30


def test_a_video_keeps_its_share_and_two_of_each_frame():
    request = Request((100,), text=30, output=64, videos=(Video(16, 100), Video(4, 20)))
    assert (request.original, request.shown) == (1780, (100, 1600, 80))
    assert retained(request, 0.222) == 23 + 356 + 18  # 22.2, 355.2 and 17.8
    assert retained(request, 0.01) == 2 + 32 + 8


def test_both_spellings_of_the_pixel_bounds_are_read(tmp_path):
    common = {"patch_size": 14, "merge_size": 2}
    old = config(tmp_path / "old", {**common, "min_pixels": 5, "max_pixels": 9}, "preprocessor_config.json")
    new = {**common, "size": {"shortest_edge": 5, "longest_edge": 9}}
    assert read_patches(old) == read_patches(config(tmp_path / "new", new, "preprocessor_config.json"))
    with pytest.raises(ValueError, match="shortest_edge"):
        read_patches(config(tmp_path / "none", common, "preprocessor_config.json"))


# Memory


def test_a_token_of_the_7b_model_takes_56_kib(tmp_path):
    shape = read_kv_shape(config(tmp_path, QWEN_7B))
    assert shape == KvShape(layers=28, kv_heads=4, head_dim=128, dtype_bytes=2)
    assert shape.bytes_per_token == 57_344 == 2 * 28 * 4 * 128 * 2
    assert read_kv_shape(tmp_path, "fp8").bytes_per_token == 28_672


def test_a_config_that_the_formula_does_not_fit_is_refused(tmp_path):
    text = QWEN_7B["text_config"]
    sliding = {**QWEN_7B, "text_config": {**text, "layer_types": ["full_attention", "sliding_attention"]}}
    with pytest.raises(ValueError, match="attend to everything"):
        read_kv_shape(config(tmp_path, sliding))
    with pytest.raises(ValueError, match="attend to everything"):
        read_kv_shape(config(tmp_path, {"dtype": "bfloat16", **text, "use_sliding_window": True}))
    with pytest.raises(ValueError, match="num_hidden_layers"):
        read_kv_shape(config(tmp_path, {"dtype": "float16", "num_attention_heads": 2}))
    with pytest.raises(ValueError, match="dtype"):
        read_kv_shape(config(tmp_path, {"text_config": text}))


def test_requests_that_fit_are_whole_blocks_of_the_pool():
    of = pool(2**30, 32, KvShape(5, 8, 32, 4))  # 10,240 bytes a token, 327,680 a block
    assert of == Pool(3276, 32, 10_240)
    assert blocks_per_request(606, 32, 32) == 20  # 637 tokens in the cache: the last one is never fed back
    assert blocks_per_request(609, 32, 32) == 20
    assert blocks_per_request(610, 32, 32) == 21
    assert bytes_per_request(606, 32, of) == 20 * 32 * 10_240
    assert concurrent_requests(606, 32, of) == 3275 // 20 == 163
    assert usage(8, 606, 32, of) == 160 / 3275
    assert concurrent_requests(606, 32, Pool(20, 32, 10_240)) == 0


# Rate


def test_a_replica_carries_users_over_latency():
    assert LOAD.latency(11) == pytest.approx(3)
    assert little(6, 3) == 2
    rate = replica_rate(LOAD, 11)
    assert (rate.per_second, rate.users, rate.latency_s) == (pytest.approx(2), 6, pytest.approx(3))
    assert (rate.limit, rate.basis) == ("users", "measured")


def test_more_users_than_were_measured_are_not_assumed_to_go_faster():
    assert replica_rate(LOAD, 11, fit=600) == replica_rate(LOAD, 11)


def test_fewer_requests_in_the_cache_than_were_measured_carry_less_and_say_so():
    rate = replica_rate(LOAD, 11, fit=3)
    assert (rate.per_second, rate.users) == (pytest.approx(1), 3)
    assert (rate.limit, rate.basis) == ("KV memory", "scaled")


def test_output_tokens_per_second_bound_the_rate():
    rate = replica_rate(replace(LOAD, output_rate=11), 11)
    assert (rate.per_second, rate.limit, rate.basis) == (1, "tokens/s", "measured")
    longer = replica_rate(LOAD, 21)  # 6 users / 4 s would be 1.5, but 22 tokens a second are 1.05 answers
    assert (longer.per_second, longer.limit, longer.basis) == (pytest.approx(22 / 21), "tokens/s", "scaled")


def test_the_largest_load_is_the_most_users_that_kept_the_slo_as_all_fewer_did():
    loads = [replace(LOAD, users=users, within_slo=kept) for users, kept in ((4, True), (1, True), (8, False))]
    assert largest_load(loads).users == 4
    assert largest_load([*loads, replace(LOAD, users=16, within_slo=True)]).users == 4
    assert largest_load([replace(LOAD, within_slo=False)]) is None
    assert largest_load(loads, users=8).users == 8
    assert largest_load(loads, users=3) is None
    without = [replace(LOAD, output_rate=9), replace(LOAD, users=2, output_rate=10)]
    assert largest_load(without).users == 2


def test_a_ratio_between_two_measured_ones_lies_on_the_line_and_says_so():
    small = replace(LOAD, keep_ratio=0.2, ttft_s=1.0, tpot_s=0.05, output_rate=44)
    between = at_ratio(0.4, [small, LOAD])  # prompts of 40, 60 and 120 tokens: a quarter of the way
    assert (between.ttft_s, between.tpot_s, between.output_rate) == pytest.approx((1.25, 0.0625, 38.5))
    assert between.basis == "scaled"
    assert at_ratio(0.2, [small, LOAD]) is small
    assert replica_rate(between, 11).basis == "scaled"


def test_nothing_is_carried_on_beyond_what_was_measured_or_across_loads():
    small = replace(LOAD, keep_ratio=0.2)
    assert at_ratio(0.1, [small, LOAD]) is None
    assert at_ratio(0.6, [small, replace(LOAD, keep_ratio=0.5)]) is None
    assert at_ratio(0.6, [replace(small, users=4), LOAD]) is None
    assert at_ratio(0.6, []) is None


# Fleet


def test_replicas_carry_the_peak_with_headroom_and_a_spare():
    traffic = Traffic(peak=10, headroom=0.2, peak_to_mean=2)
    assert size_fleet(2.5, traffic, Layout()) == Fleet(working=5, cells=1, replicas=6, gpus=6)  # 10 / 2 = 5
    assert size_fleet(2.4, traffic, Layout(gpus=2)) == Fleet(6, 1, 7, 14)  # 10 / 1.92 = 5.2
    assert traffic.monthly == 10 / 2 * 2_592_000


def test_every_cell_has_its_spares_and_every_region_stands_in_for_a_lost_one():
    traffic = Traffic(peak=3000, headroom=0, peak_to_mean=2)
    fleet = size_fleet(10, traffic, Layout(spares=2, per_cell=32, regions=4))
    # A region carries 3000 / 3 = 1000: 100 working, 30 of each 32: 4 cells, 108 replicas; four times.
    assert fleet == Fleet(400, 16, 432, 432)
    assert (regional_peak(3000, 1), regional_peak(3000, 2)) == (3000, 3000)


@pytest.mark.parametrize(
    "bad",
    [
        lambda: Traffic(0),
        lambda: Traffic(1, headroom=1),
        lambda: Traffic(1, peak_to_mean=0.5),
        lambda: Layout(gpus=0),
        lambda: Layout(spares=1, per_cell=1),
    ],
)
def test_impossible_fleets_are_refused(bad):
    with pytest.raises(ValueError, match="must"):
        bad()


# Reports and the plan


def test_a_report_gives_its_load_as_it_was_sent():
    found = measurement(result(ratio=0.25, users=3, retained=25, slo=Slo(ttft=400)))
    assert (found.keep_ratio, found.users, found.within_slo, found.basis) == (0.25, 3, True, "measured")
    assert found.request == ONE_PICTURE
    assert (found.ttft_s, found.tpot_s) == (pytest.approx(0.3), pytest.approx(0.1))
    # 1.3 s each without a pause: the accounts of users, latency and tokens agree.
    assert replica_rate(found, 11).per_second == pytest.approx(3 / 1.3)
    assert found.output_rate / 11 == pytest.approx(3 / 1.3)


def test_a_report_that_missed_its_slo_says_so_and_an_open_loop_has_the_users_of_littles_law():
    assert measurement(result(slo=Slo(ttft=200))).within_slo is False
    assert measurement({**result(users=5), "max_concurrency": None}).users == pytest.approx(5)


def test_images_of_a_request_are_told_apart():
    assert measurement(result(scenario="several-images")).request.visual == (50, 50)
    assert measurement(result(scenario="text", original=0, retained=0)).request.visual == ()


def test_what_is_no_measure_of_one_ratio_is_refused(tmp_path):
    mixed = result()
    mixed["sppruner"]["ratios"] *= 2
    with pytest.raises(ValueError, match="mixes"):
        measurement(mixed)
    with pytest.raises(ValueError, match="no keep ratio"):
        measurement(result(ratio=None, retained=50))
    assert measurement(result(ratio=None)).keep_ratio == 1
    with pytest.raises(ValueError, match=r"no result\.json"):
        read_results(tmp_path)
    (tmp_path / "result.json").write_text('{"completed": 1}')
    with pytest.raises(ValueError, match="'sppruner'"):
        read_results(tmp_path)


def test_a_load_test_of_videos_is_a_measure_of_such_videos():
    measured = measurement(result(scenario="video", original=80, retained=80))
    question = Question(
        Request((), measured.request.text, measured.request.output, (Video(4, 20),)),
        Pool(1000, 16, 100),
        Traffic(1),
        Layout(),
        (1.0,),
    )
    assert make_sizing(question, [measured]).rows[0].rate is not None


def test_measurements_with_other_images_are_left_out_with_a_warning():
    question = Question(Request((400,), 20, 11), Pool(1000, 16, 100), Traffic(1), Layout(), (1.0,))
    plan = make_sizing(question, [LOAD])
    assert plan.rows[0].rate is None
    assert plan.rows[0].fit == 999 // 27  # 430 tokens: 27 blocks
    assert "other images" in plan.warnings[0]


@pytest.fixture
def sweep(tmp_path):
    """Two ratios by two loads, in folders as a sweep leaves them, and the model they were made with."""
    for ratio, kept, ttft in ((1.0, 100, 0.4), (0.2, 20, 0.3)):
        for users in (1, 2):
            made = result(ratio, users, ttft, retained=kept, slo=Slo(ttft=1000))
            folder = tmp_path / "sweep" / "cells" / f"ratio-{ratio:g}-users-{users}"
            folder.mkdir(parents=True)
            save(folder / RESULT, made)
    warm = tmp_path / "sweep" / "warm-up"
    warm.mkdir()
    (warm / RESULT).write_text("not a measure")
    return tmp_path


def plan_of(folder, *more):
    """Exit status and the written figures of the command."""
    model = config(folder / "model", QWEN_7B)
    command = [str(folder / "sweep"), "--model", str(model), "--kv-gib", "1", "--json", str(folder / "plan.json")]
    assert main([*command, *more]) == 0
    return json.loads((folder / "plan.json").read_text())


def test_the_command_puts_ratios_side_by_side(sweep, capsys):
    plan = plan_of(sweep, "--peak", "10", "--headroom", "0", "--markdown", "--plot", str(sweep / "plan.png"))
    full, reduced = plan["rows"]
    assert [full["keep_ratio"], reduced["keep_ratio"]] == [1, 0.2]
    assert [full["prompt"], reduced["prompt"]] == [120, 40]
    assert full["kv_bytes"] == 9 * 16 * 57_344  # 130 tokens
    assert full["rate"]["per_second"] == pytest.approx(2 / 1.4)
    assert reduced["rate"]["per_second"] == pytest.approx(2 / 1.3)
    assert [row["fleet"]["replicas"] for row in plan["rows"]] == [7 + 1, math.ceil(6.5) + 1]
    assert plan["warnings"] == []
    lines = capsys.readouterr().out.splitlines()
    assert "| keep ratio | 1 | 0.2 |" in lines
    assert "| visual tokens | 100 | 20 |" in lines
    assert (sweep / "plan.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_says_what_it_did_not_measure(sweep, capsys):
    plan = plan_of(sweep, "--ratios", "1,0.5,0.1", "--output-tokens", "22")
    assert [row["rate"] and row["rate"]["basis"] for row in plan["rows"]] == ["scaled", "scaled", None]
    answers, between, beyond = plan["warnings"]
    assert "answers of 11 tokens were measured, not of 22" in answers
    assert "straight line" in between
    assert "no rate" in beyond
    assert "scaled" in capsys.readouterr().out


def test_figures_given_by_hand_are_called_assumed(sweep):
    plan = plan_of(sweep, "--assume", "0.5:32:500:25:1500", "--ratios", "0.5")
    assert plan["rows"][0]["rate"] == {
        "per_second": pytest.approx(32 / 0.75),
        "users": 32,
        "latency_s": pytest.approx(0.75),
        "limit": "users",
        "basis": "assumed",
    }
    assert "was given" in plan["warnings"][0]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--assume", "1:8:300:20:900"], "was measured"),
        (["--assume", "fast"], "RATIO:USERS"),
        (["--assume", "0.5:8:300:0:900"], "above 0"),
        (["--headroom", "1"], "headroom"),
        (["--model", "/nowhere"], "No such file"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_a_status(sweep, capsys, more, said):
    assert main([str(sweep / "sweep"), "--kv-gib", "1", *more]) == 1
    assert said in capsys.readouterr().err


LONG = ["--text-tokens", "30", "--output-tokens", "32"]


def test_without_a_report_the_command_needs_the_request(capsys):
    assert main(["--kv-gib", "1", "--ratios", "1"]) == 1
    assert "--image-size" in capsys.readouterr().err
    assert main(["--kv-gib", "1", "--ratios", "1", "--image-size", "672x672"]) == 1
    assert main(["--kv-gib", "1", "--ratios", "1", "--video", "4x20", *LONG]) == 0
    assert "--output-tokens" in capsys.readouterr().err


def test_tokens_and_memory_need_no_report(capsys):
    demo = ["--kv-gib", "1", "--block-size", "32", "--dtype", "float32"]
    request = ["--image-size", "672x672", "--text-tokens", "30", "--output-tokens", "32"]
    assert main([*demo, *request, "--ratios", "1,0.222", "--markdown"]) == 0
    out = capsys.readouterr().out
    assert "| requests that fit the KV cache | 163 | 545 |" in out  # 20 and 6 of 3275 blocks
    assert "Keep ratio 0.222: no rate." in out
