"""Counts: what each event of a request or of a worker adds to which family.

The families themselves are in families.py. Whatever the callers pass, labels stay within their closed sets.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

from sppruner_vllm.metrics import families, labels
from sppruner_vllm.metrics.bands import ratio_band
from sppruner_vllm.metrics.families import FAMILIES
from sppruner_vllm.metrics.kinds import CounterFamily, HistogramFamily
from sppruner_vllm.metrics.labels import OTHER, AskedBy, GivenUp, Outcome
from sppruner_vllm.planning.accounting import VisualTokens
from sppruner_vllm.planning.paying import Parts
from sppruner_vllm.planning.plan import ALGORITHM_VERSION
from sppruner_vllm.recipes import get_recipe, request_methods
from sppruner_vllm.settings import Settings


def start(version: str, vllm_version: str, chosen: Settings) -> None:
    """Show every series of this server from its start, at zero, and what it is and allows.

    A series that is there from the start loses no first increase to `rate()`.
    """
    for family in FAMILIES:
        if isinstance(family, CounterFamily | HistogramFamily):
            for values in itertools.product(*(label.values for label in family.labels)):
                family.metric.labels(*values) if values else family.metric
    names = request_methods() if chosen.allow_method else {chosen.method}
    for selection in {get_recipe(name).selects for name in names} - {None}:
        families.SELECTION_SECONDS.metric.labels(selection)
    families.REQUESTS_IN_FLIGHT.metric.set(0)
    families.ROWS_HELD_BYTES.metric.set(0)
    families.BUILD_INFO.metric.labels(version, vllm_version, str(ALGORITHM_VERSION)).set(1)
    limits = {"min": chosen.min_keep_ratio, "default": chosen.keep_ratio, "max": chosen.max_keep_ratio}
    for bound, ratio in limits.items():
        families.KEEP_RATIO_LIMIT.metric.labels(bound).set(ratio)
    families.REQUESTS_WAITING.metric.set(0)
    families.DEFAULT_KEEP_RATIO.metric.set(chosen.keep_ratio)


def show_load(ratio: float, change: int) -> None:
    """Show the default ratio in force.

    Args:
        change: of the requests that wait.
    """
    families.REQUESTS_WAITING.metric.inc(change)
    families.DEFAULT_KEEP_RATIO.metric.set(ratio)


def show_parts(parts: Parts | None) -> None:
    """Show what a worker measured at its start; None for nothing."""
    for part in labels.PART.values:
        families.PART_SECONDS.metric.labels(part).set(0.0 if parts is None else getattr(parts, part))


@contextmanager
def in_flight() -> Iterator[None]:
    """A request is being served inside the block."""
    gauge = families.REQUESTS_IN_FLIGHT.metric
    gauge.inc()
    try:
        yield
    finally:
        gauge.dec()


def count_request(outcome: Outcome) -> None:
    """Account for the end of one request."""
    families.REQUESTS.metric.labels(outcome).inc()


def count_rejection(code: str | None) -> None:
    """Account for a client error; `code` is of our own vocabulary, or anything else for a refusal of vLLM's."""
    families.REJECTED.metric.labels(labels.REJECTED_REASON.bound(code)).inc()


def count_visual_tokens(tokens: VisualTokens) -> None:
    """Account for the images and videos of one served request."""
    if tokens.skipped_reason is not None:
        families.SKIPPED.metric.labels(labels.SKIPPED_REASON.bound(tokens.skipped_reason)).inc()
    for scope in tokens.all_scopes:
        if scope is not None:
            families.FOCUS_SCOPE.metric.labels(scope).inc()
    families.SHRUNK.metric.inc(tokens.shrunk)
    if tokens.original == 0:
        return
    for modality, (original, retained) in tokens.by_modality.items():
        families.VISUAL_TOKENS_ORIGINAL.metric.labels(modality).inc(original)
        families.VISUAL_TOKENS_RETAINED.metric.labels(modality).inc(retained)
    families.REQUESTED_RATIO.metric.observe(tokens.keep_ratio)
    for ratio in tokens.keep_ratios:
        families.IMAGE_KEEP_RATIO.metric.observe(ratio)
    for video in tokens.videos:
        families.VIDEO_KEEP_RATIO.metric.observe(video.keep_ratio)
    families.RETAINED_RATIO.metric.observe(tokens.retained / tokens.original)
    families.RETAINED_TOKENS.metric.observe(tokens.retained)


def count_prefill(tokens: VisualTokens, computed: int) -> None:
    """Account for one prompt that the engine took up.

    Args:
        tokens: of the prompt's images.
        computed: how many of the retained tokens were not in the prefix cache, 0 <= computed <= tokens.retained.
    """
    saved = tokens.original - tokens.retained
    families.KV_TOKENS_SAVED.metric.inc(saved)
    families.PREFILL_TOKENS_SAVED.metric.inc(saved * computed / tokens.retained)


def observe_first_token(tokens: VisualTokens, seconds: float) -> None:
    """Account for the first output token of a request with images; seconds since it arrived."""
    band = ratio_band(tokens.original, tokens.retained)
    families.TIME_TO_FIRST_TOKEN_SECONDS.metric.labels(band).observe(max(0.0, seconds))


def count_output(tokens: VisualTokens, generated: int) -> None:
    """Account for the output of one prompt with images."""
    families.OUTPUT_TOKENS.metric.labels(ratio_band(tokens.original, tokens.retained)).inc(generated)


def count_shadow(tokens: VisualTokens, *, same: bool, gap: float | None, greedy: bool) -> None:
    """Account for one request that was asked again with every visual token.

    Args:
        tokens: as it was answered to the client.
        same: the answers have the same tokens, which says nothing unless `greedy`.
        gap: nats between the two tokens where they first differ, None when unknown.
    """
    band = ratio_band(tokens.original, tokens.retained)
    agreement = ("same" if same else "different") if greedy else "sampled"
    families.SHADOW_ANSWERS.metric.labels(agreement, band).inc()
    if gap is not None:
        families.SHADOW_GAP.metric.labels("greedy" if greedy else "sampled", band).observe(gap)


def count_shadow_given_up(reason: GivenUp) -> None:
    """Account for a request that was not asked again, or not to the end."""
    families.SHADOW_GIVEN_UP.metric.labels(reason).inc()


def count_telling(asked_by: AskedBy, *, told: bool) -> None:
    """Account for one request that asked which visual tokens were kept."""
    families.SELECTIONS_TOLD.metric.labels(asked_by, "told" if told else "lost").inc()


def observe_selection(method: str, seconds: float) -> None:
    """Account for one batch of images of which a worker selected the tokens."""
    known = method if method in request_methods() else OTHER
    families.SELECTION_SECONDS.metric.labels(known).observe(max(0.0, seconds))


def observe_questions(seconds: float) -> None:
    """Account for the questions of one step that a worker read by layers of the language model."""
    families.QUESTION_SECONDS.metric.observe(max(0.0, seconds))


def count_repeats(tokens: int) -> None:
    """Account for visual tokens that a worker did not let into the encoder, for they repeat others."""
    families.REPEATS.metric.inc(tokens)


def count_kept_rows(hits: int, misses: int, evicted: int, held: int) -> None:
    """Account for one step of a worker that keeps encoder rows.

    Args:
        hits, misses: images whose rows were kept, and images that were encoded.
        evicted: images whose rows made room. held: bytes kept now.
    """
    families.ROWS_KEPT.metric.labels("hit").inc(hits)
    families.ROWS_KEPT.metric.labels("miss").inc(misses)
    families.ROWS_EVICTED.metric.inc(evicted)
    families.ROWS_HELD_BYTES.metric.set(held)
