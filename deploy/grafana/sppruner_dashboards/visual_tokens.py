"""Dashboard "Visual tokens": what the reduction saves, whether it does what was asked for, and what it costs."""

from __future__ import annotations

from typing import Final

from . import colors, limits
from .dashboard import Dashboard, Row
from .panels import Query, curves, heat_map, stat, table
from .promql import buckets, gauge, mean, quantile, rate, rate_of_seen, ratio, sample, total

ORIGINAL: Final = "sppruner_visual_tokens_original_total"
RETAINED: Final = "sppruner_visual_tokens_retained_total"
REQUESTED_RATIO: Final = "sppruner_requested_ratio"
RETAINED_RATIO: Final = "sppruner_retained_ratio"
RETAINED_TOKENS: Final = "sppruner_retained_tokens"
PREFILL_SAVED: Final = "sppruner_prefill_tokens_saved_total"
KV_SAVED: Final = "sppruner_kv_tokens_saved_total"
SELECTION: Final = "sppruner_selection_seconds"
TTFT: Final = "sppruner_time_to_first_token_seconds"
OUTPUT: Final = "sppruner_output_tokens_total"
ROWS: Final = "sppruner_encoder_rows_total"
ROWS_EVICTED: Final = "sppruner_encoder_rows_evicted_total"
ROWS_BYTES: Final = "sppruner_encoder_rows_bytes"
SKIPPED: Final = "sppruner_skipped_total"
SCOPE: Final = "sppruner_focus_scope_total"
REJECTED: Final = "sppruner_rejected_total"
SHADOW: Final = "sppruner_shadow_answers_total"
SHADOW_GAP: Final = "sppruner_shadow_logprob_gap_nats"
SHADOW_GIVEN_UP: Final = "sppruner_shadow_given_up_total"
KNOBS: Final = "sppruner_keep_ratio_limit"
DEFAULT_RATIO: Final = "sppruner_default_keep_ratio"
REQUESTS_WAITING: Final = "sppruner_requests_waiting"
BUILD: Final = "sppruner_build_info"
PREFILL_TIME: Final = "vllm:request_prefill_time_seconds"
PREFILL_COMPUTED: Final = "vllm:request_prefill_kv_computed_tokens"

_TOKENS_PER_SECOND: Final = "si:tok/s"
_NO_IMAGES: Final = "No images"
_SELECTION_SHARE: Final = ratio(rate(f"{SELECTION}_sum"), rate(f"{PREFILL_TIME}_sum"))

_SUMMARY: Final = Row(
    "In this time range",
    (
        stat(
            "Visual tokens saved",
            "Share of the visual tokens of all requests that never reached the language model.",
            "percentunit",
            Query(f"1 - {ratio(total(RETAINED), total(ORIGINAL))}", "saved", instant=True),
            _NO_IMAGES,
            fields={"decimals": 1},
        ),
        stat(
            "Visual tokens saved, count",
            "Visual tokens that were dropped.",
            "short",
            Query(f"{total(ORIGINAL)} - {total(RETAINED)}", "saved", instant=True),
            _NO_IMAGES,
        ),
        stat(
            "Requests with images",
            "Requests of which visual tokens were counted. The totals of this row are of the range chosen above.",
            "short",
            Query(total(f"{RETAINED_RATIO}_count"), "requests", instant=True),
            _NO_IMAGES,
            fields={"decimals": 0},
        ),
        stat(
            "Prefill tokens saved",
            "Prompt tokens that the engine did not have to compute, because they were dropped before it.",
            "short",
            Query(total(PREFILL_SAVED), "saved", instant=True),
            "Nothing saved",
        ),
        stat(
            "KV cache tokens saved",
            "Tokens that took no room in the KV cache, because they were dropped before it.",
            "short",
            Query(total(KV_SAVED), "saved", instant=True),
            "Nothing saved",
        ),
        stat(
            "Selection, share of prefill",
            "Time spent selecting tokens over the time that requests spent in prefill. "
            "A step selects once for all its requests, each of which counts its own prefill time.",
            "percentunit",
            Query(_SELECTION_SHARE, "share"),
            "No selection",
            worry=limits.SELECTION_SHARE,
            alarm=5 * limits.SELECTION_SHARE,
            fields={"decimals": 2},
        ),
    ),
)

_TOKENS: Final = Row(
    "Tokens",
    (
        curves(
            "Visual tokens before and after",
            "Visual tokens a second that requests came with, and that were left after reduction.",
            _TOKENS_PER_SECOND,
            [Query(rate(ORIGINAL), "original"), Query(rate(RETAINED), "retained")],
            _NO_IMAGES,
            width=6,
            colors=colors.TOKENS,
        ),
        curves(
            "Retained of images and videos",
            "Visual tokens a second that were left after reduction, of images and of videos.",
            _TOKENS_PER_SECOND,
            [Query(rate(RETAINED, "modality"), "{{modality}}")],
            _NO_IMAGES,
            stacked=True,
            width=6,
            colors=colors.MODALITIES,
        ),
        curves(
            "Prefill: computed and saved",
            "Prompt tokens a second that the engine computed, and those that the reduction spared it. "
            "What a prefix cache supplied is in neither.",
            _TOKENS_PER_SECOND,
            [Query(rate(f"{PREFILL_COMPUTED}_sum"), "computed"), Query(rate(PREFILL_SAVED), "saved")],
            "No traffic",
            stacked=True,
            width=6,
            colors=colors.TOKENS,
        ),
        curves(
            "KV cache: saved",
            "Tokens a second that would have been written to the KV cache without reduction.",
            _TOKENS_PER_SECOND,
            [Query(rate(KV_SAVED), "saved")],
            "Nothing saved",
            width=6,
            colors=colors.TOKENS,
        ),
    ),
)

_RATIOS: Final = Row(
    "Retained ratio",
    (
        curves(
            "Requested against retained",
            "Means over requests. Retained lies above requested where images are too small to reduce, or were skipped; "
            "the row below says why.",
            "percentunit",
            [Query(mean(REQUESTED_RATIO), "requested"), Query(mean(RETAINED_RATIO), "retained")],
            _NO_IMAGES,
            top=1,
            colors=colors.RATIOS,
        ),
        heat_map(
            "Retained ratio",
            "Requests by the share of their visual tokens that was kept, in steps of 0.05.",
            "percentunit",
            Query(buckets(RETAINED_RATIO), "{{le}}"),
            _NO_IMAGES,
            width=8,
        ),
        heat_map(
            "Requested ratio",
            "Requests by the keep ratio in force for them, their own or the default, in steps of 0.05.",
            "percentunit",
            Query(buckets(REQUESTED_RATIO), "{{le}}"),
            _NO_IMAGES,
            width=8,
        ),
    ),
)

_BANDS: Final = Row(
    "By ratio band",
    (
        curves(
            "Requests by band",
            "Requests with images by the band of their retained ratio, counted at their first token. "
            "Band 1: nothing was reduced.",
            "reqps",
            [Query(rate(f"{TTFT}_count", "ratio_band"), "{{ratio_band}}")],
            "No traffic",
            stacked=True,
            width=6,
            colors=colors.BANDS,
        ),
        curves(
            "First token, median, by band",
            "Half of the requests of a band have their first token within this time.",
            "s",
            [Query(quantile(0.5, TTFT, "ratio_band"), "{{ratio_band}}")],
            "No traffic",
            width=6,
            colors=colors.BANDS,
            worry=limits.FIRST_TOKEN_SECONDS,
        ),
        curves(
            "First token, p95, by band",
            "95 of 100 requests of a band have their first token within this time.",
            "s",
            [Query(quantile(0.95, TTFT, "ratio_band"), "{{ratio_band}}")],
            "No traffic",
            width=6,
            colors=colors.BANDS,
            worry=limits.FIRST_TOKEN_SECONDS,
        ),
        curves(
            "Output by band",
            "Generated tokens a second, by the retained ratio of their request.",
            _TOKENS_PER_SECOND,
            [Query(rate(OUTPUT, "ratio_band"), "{{ratio_band}}")],
            "No traffic",
            stacked=True,
            width=6,
            colors=colors.BANDS,
        ),
    ),
)

_COST: Final = Row(
    "What the selection costs",
    (
        curves(
            "Selection time",
            "Time a worker spends selecting the tokens of one step's images: median and p99.",
            "s",
            [
                Query(quantile(0.5, SELECTION, "method"), "{{method}} p50"),
                Query(quantile(0.99, SELECTION, "method"), "{{method}} p99"),
            ],
            "No selection",
            worry=limits.SELECTION_SECONDS,
        ),
        curves(
            "Selection, share of prefill time",
            "Time spent selecting over the time that requests spent in prefill. "
            "It should stay far below the share of tokens saved.",
            "percentunit",
            [Query(_SELECTION_SHARE, "share")],
            "No selection",
            worry=limits.SELECTION_SHARE,
        ),
        curves(
            "Selections",
            "Batches of images a second from which tokens were selected.",
            "ops",
            [Query(rate(f"{SELECTION}_count", "method"), "{{method}}")],
            "No selection",
        ),
    ),
)

_KEPT: Final = Row(
    "Encoder rows that are kept",
    (
        curves(
            "Pictures by kept rows",
            "Pictures a second that a worker was to encode. hit: their rows were kept, and the encoder was spared. "
            "miss: it ran.",
            "ops",
            [Query(rate(ROWS, "kept"), "{{kept}}")],
            _NO_IMAGES,
            stacked=True,
            colors=colors.KEPT,
        ),
        curves(
            "Pictures that made room",
            "Pictures a second whose rows went so that others could be kept. Far below the misses: --rows-cache-mib "
            "is large enough. As many as the misses: a larger one may spare the encoder more.",
            "ops",
            [Query(rate(ROWS_EVICTED), "made room")],
            "No picture had to go",
        ),
        curves(
            "Bytes of rows",
            "Memory of the rows that the first rank of each engine keeps.",
            "si:B",
            [Query(gauge(ROWS_BYTES, "instance"), "{{instance}}")],
            "No server",
        ),
    ),
)

_REASONS: Final = Row(
    "Not reduced, refused",
    (
        curves(
            "Not reduced, by reason",
            "Requests with images of which nothing was reduced. They are served all the same.",
            "reqps",
            [Query(rate_of_seen(SKIPPED, "reason"), "{{reason}}")],
            "Every image was reduced",
            stacked=True,
            width=6,
        ),
        curves(
            "Images by focus scope",
            "Images a second of which tokens were selected for their own question, "
            "or for all questions about them, which then share the prefix cache.",
            "ops",
            [Query(rate_of_seen(SCOPE, "scope"), "{{scope}}")],
            "No question steered",
            stacked=True,
            width=6,
        ),
        curves(
            "Refused, by reason",
            "Requests answered with a client error, by its code. `other`: refused by vLLM itself.",
            "reqps",
            [Query(rate_of_seen(REJECTED, "reason"), "{{reason}}")],
            "Nothing was refused",
            stacked=True,
            width=6,
        ),
        curves(
            "Retained tokens of a request",
            "Visual tokens that are left of a request: median and p95.",
            "short",
            [Query(quantile(0.5, RETAINED_TOKENS), "p50"), Query(quantile(0.95, RETAINED_TOKENS), "p95")],
            _NO_IMAGES,
            width=6,
            colors=colors.PERCENTILES,
        ),
    ),
)

_SHADOW: Final = Row(
    "Asked again with every visual token",
    (
        curves(
            "Answers that agree",
            "Requests a second whose answer was the same with every visual token, and those of which it was not. "
            "sampled: the temperature was above 0, so that answers differ by chance. Nothing without --shadow-share.",
            "reqps",
            [Query(rate(SHADOW, "agreement"), "{{agreement}}")],
            "No server",
            stacked=True,
            colors=colors.AGREEMENT,
        ),
        curves(
            "Gap where answers part",
            "Answers a second that part from the whole picture's where that finds its own token up to so many nats "
            "likelier. Greedy answers alone; 0.01 holds the same answers.",
            "reqps",
            [Query(rate(f"{SHADOW_GAP}_bucket", "le", where='decoding="greedy"'), "up to {{le}}")],
            "No server",
        ),
        curves(
            "Not asked again, by reason",
            "Requests a second that were to be asked again and were given up: others came first, or the hour was full.",
            "reqps",
            [Query(rate(SHADOW_GIVEN_UP, "reason"), "{{reason}}")],
            "No server",
            stacked=True,
        ),
    ),
)

_LOAD: Final = Row(
    "The default under load",
    (
        curves(
            "Default keep ratio in force",
            "What a request gets that names no ratio, by server: the operator's default, and with --load-floor-ratio "
            "less while requests wait.",
            "percentunit",
            [Query(gauge(DEFAULT_RATIO, "instance", how="min"), "{{instance}}")],
            "No server",
            width=12,
            stepped=True,
            top=1,
        ),
        curves(
            "Requests that wait for their first token",
            "What the default follows: requests that are being rendered, or that the engine has given no token yet. "
            "0 without --load-floor-ratio.",
            "short",
            [Query(gauge(REQUESTS_WAITING, "instance"), "{{instance}}")],
            "No server",
            width=12,
        ),
    ),
)

_SETTINGS: Final = Row(
    "Quality knobs in force",
    (
        curves(
            "Keep ratio: limits and default",
            "What a request may ask for, and what it gets when it does not ask. "
            "Several curves of one name: servers that are set up differently.",
            "percentunit",
            [Query(gauge(KNOBS, "instance", "bound", how="max"), "{{bound}} ({{instance}})")],
            "No server",
            width=12,
            stepped=True,
            top=1,
        ),
        table(
            "Versions",
            "What each server runs. Answers may change with the algorithm's version.",
            Query(sample(BUILD), "{{instance}}"),
            "No server",
            {
                "instance": "Instance",
                "version": "SPpruner",
                "algorithm_version": "Algorithm",
                "vllm_version": "vLLM",
            },
        ),
    ),
)

VISUAL_TOKENS: Final = Dashboard(
    "sppruner-visual-tokens",
    "SPpruner: visual tokens",
    "What the visual-token reduction saves, what it costs, and with which settings.",
    (_SUMMARY, _TOKENS, _RATIOS, _BANDS, _COST, _KEPT, _REASONS, _LOAD, _SHADOW, _SETTINGS),
)
