"""Dashboard "Serving": how long requests take, what waits, how full the KV cache is, and how requests end."""

from __future__ import annotations

from typing import Final

from . import colors, limits
from .dashboard import Dashboard, Row
from .panels import Query, curves, stat
from .promql import gauge, mean, quantile, rate, rate_of_seen, ratio

TTFT: Final = "vllm:time_to_first_token_seconds"
ITL: Final = "vllm:inter_token_latency_seconds"
END_TO_END: Final = "vllm:e2e_request_latency_seconds"
QUEUE_TIME: Final = "vllm:request_queue_time_seconds"
PREFILL_TIME: Final = "vllm:request_prefill_time_seconds"
DECODE_TIME: Final = "vllm:request_decode_time_seconds"
RUNNING: Final = "vllm:num_requests_running"
WAITING: Final = "vllm:num_requests_waiting"
KV_USAGE: Final = "vllm:kv_cache_usage_perc"
PREEMPTIONS: Final = "vllm:num_preemptions_total"
PREFIX_HITS: Final = "vllm:prefix_cache_hits_total"
PREFIX_QUERIES: Final = "vllm:prefix_cache_queries_total"
MM_HITS: Final = "vllm:mm_cache_hits_total"
MM_QUERIES: Final = "vllm:mm_cache_queries_total"
PROMPT: Final = "vllm:prompt_tokens_total"
GENERATED: Final = "vllm:generation_tokens_total"
FINISHED: Final = "vllm:request_success_total"
TURNED_AWAY: Final = "vllm:admission_rejections_total"
REQUESTS: Final = "sppruner_requests_total"
IN_FLIGHT: Final = "sppruner_requests_in_flight"
REJECTED: Final = "sppruner_rejected_total"

_TOKENS_PER_SECOND: Final = "si:tok/s"
_NO_TRAFFIC: Final = "No traffic"
_NO_SERVER: Final = "No server"
_NO_REQUEST: Final = "No request yet"
_PERCENTILES: Final = ((0.5, "p50"), (0.9, "p90"), (0.99, "p99"))
_ERROR_SHARE: Final = ratio(rate(REQUESTS, where='outcome="server_error"'), rate(REQUESTS))
_OF_CLIENTS: Final = 'reason!~"invalid_api_key|invalid_http|head_too_large|request_timeout"'
"""Without what comes from those who have no key, or do not end what they begin to send."""

_REJECTED_SHARE: Final = ratio(rate(REJECTED, where=_OF_CLIENTS), rate(REQUESTS))


def _percentiles(histogram: str) -> list[Query]:
    return [Query(quantile(share, histogram), name) for share, name in _PERCENTILES]


_NOW: Final = Row(
    "Now",
    (
        stat("Requests", "Requests a second to our routes.", "reqps", Query(rate(REQUESTS), "requests"), _NO_TRAFFIC),
        stat(
            "Server errors",
            "Share of requests that failed and were not the client's fault.",
            "percentunit",
            Query(_ERROR_SHARE, "errors"),
            _NO_TRAFFIC,
            worry=limits.ERROR_SHARE,
            alarm=5 * limits.ERROR_SHARE,
            fields={"decimals": 2},
        ),
        stat(
            "First token, p95",
            "95 of 100 requests have their first token within this time.",
            "s",
            Query(quantile(0.95, TTFT), "p95"),
            _NO_TRAFFIC,
            worry=limits.FIRST_TOKEN_SECONDS,
            alarm=2 * limits.FIRST_TOKEN_SECONDS,
        ),
        stat(
            "In flight",
            "Requests that were taken in and are not yet answered.",
            "short",
            Query(gauge(IN_FLIGHT), "in flight"),
            _NO_SERVER,
            fields={"decimals": 0},
        ),
        stat(
            "Waiting",
            "Requests that wait for the engine to start on them.",
            "short",
            Query(gauge(WAITING), "waiting"),
            _NO_REQUEST,
            worry=limits.WAITING,
            alarm=10 * limits.WAITING,
            fields={"decimals": 0},
        ),
        stat(
            "KV cache in use",
            "Share of the KV cache's blocks that requests hold, on the fullest engine.",
            "percentunit",
            Query(gauge(KV_USAGE, how="max"), "in use"),
            _NO_REQUEST,
            worry=limits.KV_USAGE - 0.1,
            alarm=limits.KV_USAGE,
            fields={"decimals": 1},
        ),
    ),
)

_LATENCY: Final = Row(
    "Latency",
    (
        curves(
            "Time to first token",
            "From the arrival of a request to its first token: queueing, image processing, encoder and prefill.",
            "s",
            _percentiles(TTFT),
            _NO_TRAFFIC,
            colors=colors.PERCENTILES,
            worry=limits.FIRST_TOKEN_SECONDS,
        ),
        curves(
            "Time between tokens",
            "From one generated token to the next.",
            "s",
            _percentiles(ITL),
            "No request of more than one token",
            colors=colors.PERCENTILES,
        ),
        curves(
            "End to end",
            "From the arrival of a request to its last token.",
            "s",
            _percentiles(END_TO_END),
            _NO_TRAFFIC,
            colors=colors.PERCENTILES,
        ),
        curves(
            "Where the time goes",
            "Mean time of a finished request in the queue, in prefill and in decoding.",
            "s",
            [
                Query(mean(QUEUE_TIME), "queue"),
                Query(mean(PREFILL_TIME), "prefill"),
                Query(mean(DECODE_TIME), "decode"),
            ],
            _NO_TRAFFIC,
            width=12,
            stacked=True,
        ),
        curves(
            "Time in the queue",
            "From the arrival of a request at the engine to the step that starts on it. "
            "The smallest bucket ends at 0.3 s.",
            "s",
            _percentiles(QUEUE_TIME),
            _NO_TRAFFIC,
            colors=colors.PERCENTILES,
            width=12,
        ),
    ),
)

_LOAD: Final = Row(
    "Load and queue",
    (
        curves(
            "Running and waiting",
            "Requests that the engine works on, and that wait for it.",
            "short",
            [Query(gauge(RUNNING), "running"), Query(gauge(WAITING), "waiting")],
            _NO_REQUEST,
            width=6,
            stacked=True,
        ),
        curves(
            "In flight, by server",
            "Requests taken in and not yet answered. More than running and waiting together: "
            "images are being fetched, decoded and processed.",
            "short",
            [Query(gauge(IN_FLIGHT, "instance"), "{{instance}}")],
            _NO_SERVER,
            width=6,
        ),
        curves(
            "Turned away at the queue",
            "Requests a second that got 503 because the queue was at one of the server's limits.",
            "reqps",
            [Query(rate(TURNED_AWAY, "reason"), "{{reason}}")],
            _NO_SERVER,
            width=6,
        ),
        curves(
            "Throughput",
            "Prompt and generated tokens a second. Visual tokens that were dropped are in neither.",
            _TOKENS_PER_SECOND,
            [Query(rate(PROMPT), "prompt"), Query(rate(GENERATED), "generated")],
            _NO_TRAFFIC,
            width=6,
        ),
    ),
)

_CACHES: Final = Row(
    "KV cache",
    (
        curves(
            "KV cache in use, by engine",
            "Share of each engine's blocks that requests hold.",
            "percentunit",
            [Query(gauge(KV_USAGE, "instance", "engine", how="max"), "{{instance}} engine {{engine}}")],
            _NO_REQUEST,
            top=1,
            worry=limits.KV_USAGE,
        ),
        curves(
            "Preemptions",
            "Running requests a second that lose their KV cache to others and are computed again.",
            "cps",
            [Query(rate(PREEMPTIONS), "preemptions")],
            _NO_SERVER,
            worry=limits.PREEMPTIONS_PER_SECOND,
        ),
        curves(
            "Cache hits",
            "Prefix cache: share of prompt tokens that were already there. "
            "Multimodal cache: share of images that need not be processed again.",
            "percentunit",
            [
                Query(ratio(rate(PREFIX_HITS), rate(PREFIX_QUERIES)), "prefix cache"),
                Query(ratio(rate(MM_HITS), rate(MM_QUERIES)), "multimodal cache"),
            ],
            _NO_TRAFFIC,
            top=1,
        ),
    ),
)

_OUTCOMES: Final = Row(
    "Outcomes",
    (
        curves(
            "Requests by outcome",
            "How requests to our routes end, by what went out on the wire.",
            "reqps",
            [Query(rate(REQUESTS, "outcome"), "{{outcome}}")],
            _NO_TRAFFIC,
            width=6,
            colors=colors.OUTCOMES,
            stacked=True,
        ),
        curves(
            "Shares of errors and refusals",
            "Server errors and refused requests over all requests to our routes, without those that have no key or "
            "never came whole. The dashed line is the objective for errors.",
            "percentunit",
            [Query(_ERROR_SHARE, "server errors"), Query(_REJECTED_SHARE, "refused")],
            _NO_TRAFFIC,
            width=6,
            worry=limits.ERROR_SHARE,
            colors={"server errors": "red", "refused": "yellow"},
        ),
        curves(
            "Refused, by reason",
            "Refused requests, by code, those at the server's door included. `other`: refused by vLLM itself.",
            "reqps",
            [Query(rate_of_seen(REJECTED, "reason"), "{{reason}}")],
            "Nothing was refused",
            width=6,
            stacked=True,
        ),
        curves(
            "Finished, by reason",
            "Requests that the engine finished, by why it stopped.",
            "reqps",
            [Query(rate_of_seen(FINISHED, "finished_reason"), "{{finished_reason}}")],
            _NO_TRAFFIC,
            width=6,
            stacked=True,
        ),
    ),
)

SERVING: Final = Dashboard(
    "sppruner-serving",
    "SPpruner: serving",
    "Latency, queue, KV cache, throughput and outcomes of the servers.",
    (_NOW, _LATENCY, _LOAD, _CACHES, _OUTCOMES),
)
