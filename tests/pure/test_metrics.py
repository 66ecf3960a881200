"""What each event adds to the families, and that labels stay within bounds."""

from __future__ import annotations

import random
import string
from collections.abc import Callable
from dataclasses import replace
from typing import get_args

import pytest
from prometheus_client import REGISTRY

from sppruner_vllm.errors import InvalidField
from sppruner_vllm.metrics import events as metrics
from sppruner_vllm.metrics.bands import RATIO_BANDS, ratio_band
from sppruner_vllm.metrics.families import FAMILIES
from sppruner_vllm.metrics.kinds import CounterFamily, HistogramFamily
from sppruner_vllm.metrics.labels import PART, Outcome, RejectedReason
from sppruner_vllm.planning.accounting import VideoTokens, VisualTokens
from sppruner_vllm.planning.paying import Parts
from sppruner_vllm.planning.plan import ALGORITHM_VERSION, SkippedReason
from sppruner_vllm.planning.scope import Served
from sppruner_vllm.request.fields import REQUEST_FIELDS
from sppruner_vllm.settings import Settings

Growth = Callable[..., float]
BOUNDS = ("min", "default", "max")


@pytest.fixture
def growth() -> Growth:
    """How much a sample has grown since it was first asked for."""
    before: dict[tuple[str, ...], float] = {}

    def of(name: str, **labels: str) -> float:
        now = REGISTRY.get_sample_value(name, labels) or 0.0
        return now - before.setdefault((name, *sorted(labels.values())), now)

    return of


def our_series() -> set[tuple[str, ...]]:
    """Every series of ours in this process: its name and its labels."""
    samples = (sample for family in REGISTRY.collect() for sample in family.samples)
    return {
        (sample.name, *map(str, sorted(sample.labels.items())))
        for sample in samples
        if sample.name.startswith("sppruner_")
    }


def tokens(original: int = 64, retained: int = 16, reason: str | None = None) -> VisualTokens:
    return VisualTokens(original, retained, retained / original, "uniform", reason)


@pytest.mark.parametrize(
    ("retained", "band"),
    [
        (1000, "1"),
        (999, "0.5-1"),
        (501, "0.5-1"),
        (500, "0.25-0.5"),
        (251, "0.25-0.5"),
        (250, "0.1-0.25"),
        (101, "0.1-0.25"),
        (100, "0-0.1"),
        (1, "0-0.1"),
    ],
)
def test_a_band_holds_its_upper_end_and_not_its_lower(retained: int, band: str) -> None:
    assert ratio_band(1000, retained) == band


def test_every_ratio_has_a_band_and_every_band_has_ratios() -> None:
    assert {ratio_band(97, retained) for retained in range(1, 98)} == set(RATIO_BANDS)


def test_one_request_is_counted_once_in_each_family_of_visual_tokens(growth: Growth) -> None:
    names = (
        "sppruner_requested_ratio_count",
        "sppruner_requested_ratio_sum",
        "sppruner_retained_ratio_count",
        "sppruner_retained_ratio_sum",
        "sppruner_retained_tokens_sum",
    )
    metrics.count_visual_tokens(tokens())  # so that every sample is there
    assert [growth(name) for name in names] == [0] * len(names)
    metrics.count_visual_tokens(VisualTokens(100, 23, 0.222, "uniform", None))
    assert [growth(name) for name in names] == pytest.approx([1, 0.222, 1, 0.23, 23])


def test_tokens_of_images_and_videos_are_told_apart(growth: Growth) -> None:
    def tokens_of(modality: str) -> list[float]:
        names = "sppruner_visual_tokens_original_total", "sppruner_visual_tokens_retained_total"
        return [growth(name, modality=modality) for name in names]

    assert [tokens_of("image"), tokens_of("video")] == [[0, 0], [0, 0]]
    metrics.count_visual_tokens(VisualTokens(100, 23, 0.222, "uniform", None))
    assert [tokens_of("image"), tokens_of("video")] == [[100, 23], [0, 0]]
    videos = VideoTokens(40, 10, 0.25, None), VideoTokens(30, 30, 1.0, "unsupported_input")
    metrics.count_visual_tokens(VisualTokens(90, 50, 0.5, "uniform", None, videos=videos))
    assert [tokens_of("image"), tokens_of("video")] == [[120, 33], [70, 40]]


def test_each_image_is_counted_by_the_scope_of_its_selection(growth: Growth) -> None:
    for scope in ("question", "image"):
        growth("sppruner_focus_scope_total", scope=scope)
    metrics.count_visual_tokens(VisualTokens(100, 23, 0.222, "uniform", None, ("image", None, "question", "image")))
    assert growth("sppruner_focus_scope_total", scope="question") == 1
    assert growth("sppruner_focus_scope_total", scope="image") == 2


def test_a_prompt_saves_what_it_dropped_and_in_prefill_only_what_was_not_cached(growth: Growth) -> None:
    names = "sppruner_kv_tokens_saved_total", "sppruner_prefill_tokens_saved_total"
    [growth(name) for name in names]
    metrics.count_prefill(tokens(64, 16), computed=16)
    assert [growth(name) for name in names] == [48, 48]
    metrics.count_prefill(tokens(64, 16), computed=4)
    assert [growth(name) for name in names] == [96, 60]
    metrics.count_prefill(tokens(64, 16), computed=0)
    assert [growth(name) for name in names] == [144, 60]


def test_a_request_is_in_flight_until_it_ends_however_it_ends(growth: Growth) -> None:
    growth("sppruner_requests_in_flight")

    def fail() -> None:
        with metrics.in_flight():
            assert growth("sppruner_requests_in_flight") == 2
            raise RuntimeError("failed")

    with metrics.in_flight():
        with pytest.raises(RuntimeError, match="failed"):
            fail()
        assert growth("sppruner_requests_in_flight") == 1
    assert growth("sppruner_requests_in_flight") == 0


def test_every_code_of_a_refused_field_is_a_reason_of_its_own() -> None:
    assert {InvalidField(field, "").code for field in REQUEST_FIELDS} <= set(get_args(RejectedReason))


def test_what_is_not_one_of_our_codes_is_rejected_as_other(growth: Growth) -> None:
    growth("sppruner_rejected_total", reason="other")
    for code in (None, "400", "no_such_code"):
        metrics.count_rejection(code)
    assert growth("sppruner_rejected_total", reason="other") == 3


def test_from_the_start_each_series_is_there_and_traffic_adds_none() -> None:
    metrics.start("1", "2", Settings(allow_method=True))
    metrics.observe_selection("not a method", 0.1)  # the one series that only a broken method would bring
    series = our_series()
    dice = random.Random(4)
    for _ in range(1000):
        random_request(dice)
    assert our_series() == series


def random_request(dice: random.Random) -> None:
    """Whatever a request may bring, through every counting function."""
    word = "".join(dice.choices(string.printable, k=dice.randint(0, 40)))
    original = dice.randint(1, 20_000)
    scopes = tuple(dice.choices([None, *get_args(Served)], k=dice.randint(0, 3)))
    seen = tokens(original, dice.randint(1, original), dice.choice([None, word, *get_args(SkippedReason)]))
    seen = replace(seen, scopes=scopes)
    with metrics.in_flight():
        metrics.count_visual_tokens(seen)
        metrics.count_prefill(seen, dice.randint(0, seen.retained))
        metrics.observe_first_token(seen, dice.uniform(-1, 1000))
        metrics.count_output(seen, dice.randint(0, 9000))
    metrics.count_rejection(dice.choice([None, word, *get_args(RejectedReason)]))
    metrics.count_request(dice.choice(get_args(Outcome)))
    metrics.observe_selection(dice.choice([word, "uniform", "focus_context"]), dice.random())


def test_the_operators_limits_and_the_build_are_told() -> None:
    metrics.start("1.2", "3.4", Settings(keep_ratio=0.5, min_keep_ratio=0.25, max_keep_ratio=0.75))
    limits = {bound: REGISTRY.get_sample_value("sppruner_keep_ratio_limit", {"bound": bound}) for bound in BOUNDS}
    assert limits == {"min": 0.25, "default": 0.5, "max": 0.75}
    versions = {"version": "1.2", "vllm_version": "3.4", "algorithm_version": str(ALGORITHM_VERSION)}
    assert REGISTRY.get_sample_value("sppruner_build_info", versions) == 1


def test_what_a_worker_measured_is_shown_and_0_where_nobody_did() -> None:
    metrics.show_parts(Parts("m", prefill=1e-5, image=2e-3, row=3e-6, pair=4e-9))
    shown = [REGISTRY.get_sample_value("sppruner_part_seconds", {"part": part}) for part in PART.values]
    assert shown == [1e-5, 2e-3, 3e-6, 4e-9]
    metrics.show_parts(None)
    assert REGISTRY.get_sample_value("sppruner_part_seconds", {"part": "prefill"}) == 0


def test_names_say_what_they_count_in_base_units() -> None:
    for family in FAMILIES:
        assert family.name.startswith("sppruner_")
        assert family.help.endswith(".")
        assert not family.name.endswith(("_total", "_count", "_sum", "_bucket", "_ms", "_percent"))
        assert isinstance(family, CounterFamily) == family.scraped_name.endswith("_total")


def test_buckets_rise_and_ratios_go_by_steps_of_a_twentieth() -> None:
    histograms = [family for family in FAMILIES if isinstance(family, HistogramFamily)]
    for family in histograms:
        assert list(family.buckets) == sorted(set(family.buckets))
    ratios = {family.buckets for family in histograms if family.name.endswith("_ratio")}
    assert ratios == {tuple(round(0.05 * step, 2) for step in range(1, 21))}


def test_repeats_that_did_not_enter_the_encoder_add_up(growth: Growth) -> None:
    growth("sppruner_repeated_visual_tokens_total")
    metrics.count_repeats(700)
    metrics.count_repeats(0)
    assert growth("sppruner_repeated_visual_tokens_total") == 700


def test_a_step_counts_its_kept_and_encoded_pictures_and_sets_what_is_held(growth: Growth) -> None:
    names = [("sppruner_encoder_rows_total", {"kept": kept}) for kept in ("hit", "miss")]
    for name, labels in names:
        growth(name, **labels)
    growth("sppruner_encoder_rows_evicted_total")
    metrics.count_kept_rows(hits=3, misses=1, evicted=2, held=4096)
    metrics.count_kept_rows(hits=1, misses=0, evicted=0, held=1024)
    assert [growth(name, **labels) for name, labels in names] == [4, 1]
    assert growth("sppruner_encoder_rows_evicted_total") == 2
    assert REGISTRY.get_sample_value("sppruner_encoder_rows_bytes") == 1024
