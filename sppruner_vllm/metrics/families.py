"""Every metric family of the product, as it is scraped and documented (docs/operate/metrics.md)."""

from __future__ import annotations

from typing import Final

from sppruner_vllm.metrics.kinds import CounterFamily, GaugeFamily, HistogramFamily
from sppruner_vllm.metrics.labels import (
    AGREEMENT,
    ASKED_BY,
    BOUND,
    DECODING,
    GIVEN_UP,
    KEPT,
    METHOD,
    MODALITY,
    OUTCOME,
    PART,
    RATIO_BAND,
    REJECTED_REASON,
    SCOPE,
    SKIPPED_REASON,
    TELLING,
    Label,
)

_RATIO_BUCKETS: Final = tuple(step / 20 for step in range(1, 21))
_TOKEN_BUCKETS: Final = tuple(float(digit * 10**power) for power in range(5) for digit in (1, 2, 5))
_SELECTION_BUCKETS: Final = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_GAP_BUCKETS: Final = (0.01, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
_FIRST_TOKEN_BUCKETS: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)

VISUAL_TOKENS_ORIGINAL: Final = CounterFamily(
    "sppruner_visual_tokens_original", "Visual tokens of served requests, before reduction.", (MODALITY,)
)
VISUAL_TOKENS_RETAINED: Final = CounterFamily(
    "sppruner_visual_tokens_retained", "Visual tokens of served requests, after reduction.", (MODALITY,)
)
REQUESTED_RATIO: Final = HistogramFamily(
    "sppruner_requested_ratio",
    "Keep ratio in force for a request with images or videos: its own, or the default.",
    buckets=_RATIO_BUCKETS,
    note="For `keep_tokens`, and where images and videos have not all the same, the ratio it came to.",
)
IMAGE_KEEP_RATIO: Final = HistogramFamily(
    "sppruner_image_keep_ratio",
    "Keep ratio in force for each image of a served request.",
    buckets=_RATIO_BUCKETS,
    note="A request may ask another one of each of its images. For budgets in tokens, the ratio they came to.",
)
VIDEO_KEEP_RATIO: Final = HistogramFamily(
    "sppruner_video_keep_ratio",
    "Keep ratio in force for each video of a served request.",
    buckets=_RATIO_BUCKETS,
    note="1 for a video that stays whole by itself: of a model or a prompt that it cannot be reduced in.",
)
RETAINED_RATIO: Final = HistogramFamily(
    "sppruner_retained_ratio", "Retained over original visual tokens of a request.", buckets=_RATIO_BUCKETS
)
RETAINED_TOKENS: Final = HistogramFamily(
    "sppruner_retained_tokens", "Retained visual tokens of a request that has any.", buckets=_TOKEN_BUCKETS
)
SKIPPED: Final = CounterFamily(
    "sppruner_skipped",
    "Requests with images or videos of which nothing was reduced, by reason.",
    (SKIPPED_REASON,),
)
SHRUNK: Final = CounterFamily(
    "sppruner_shrunk_images",
    "Images of served requests that were made smaller to keep a limit, before their visual tokens were counted.",
    note="`max_pixels` and `detail` of requests, `--max-pixels`, `--shrink-large-images`.",
)
FOCUS_SCOPE: Final = CounterFamily(
    "sppruner_focus_scope",
    "Images and videos of served requests that a question could steer, by whom their selection served.",
    (SCOPE,),
    note="`question`: its own; `image`: all questions about it, so that they share the prefix cache.",
)
KV_TOKENS_SAVED: Final = CounterFamily(
    "sppruner_kv_tokens_saved",
    "Prompt tokens that took no place in the KV cache because they were not retained.",
    note="Original less retained, once per prompt, when its first token is there.",
)
PREFILL_TOKENS_SAVED: Final = CounterFamily(
    "sppruner_prefill_tokens_saved",
    "Prompt tokens that were not computed because they were not retained.",
    note="As above, less those that the prefix cache would have spared anyway: see “Prefill saved”.",
)
REQUESTS: Final = CounterFamily("sppruner_requests", "Requests to our routes, by outcome.", (OUTCOME,))
REQUESTS_IN_FLIGHT: Final = GaugeFamily(
    "sppruner_requests_in_flight",
    "Requests to our routes that came and are not settled yet.",
    across="livesum",
    note="A stream counts until its last byte.",
)
REJECTED: Final = CounterFamily(
    "sppruner_rejected",
    "Requests that were refused, by reason: at our routes, or at the server's door, whatever they were for.",
    (REJECTED_REASON,),
    note="The codes of docs/use/api.md; `other` for the rest of them. What vLLM turns away at a full queue is a 503 "
    "and in `vllm:admission_rejections_total`.",
)
SELECTION_SECONDS: Final = HistogramFamily(
    "sppruner_selection_seconds",
    "Time a worker spent selecting the visual tokens of one batch of images, or of one video.",
    (METHOD,),
    buckets=_SELECTION_BUCKETS,
    note="Of the first tensor-parallel rank. The second step of `hybrid` counts as `focus_context`; `downscale` "
    "selects nothing. On a GPU a batch shows when the next one is selected.",
)
QUESTION_SECONDS: Final = HistogramFamily(
    "sppruner_question_seconds",
    "Time a worker spent reading the new questions of one step by layers of the language model.",
    buckets=_SELECTION_BUCKETS,
    note="None with `--question-depth 0`. Of the first tensor-parallel rank. "
    "A question that is kept is not read again.",
)
REPEATS: Final = CounterFamily(
    "sppruner_repeated_visual_tokens",
    "Visual tokens that did not enter the encoder because another one has the same pixels.",
    note="`--skip-repeats`; else 0. Of pictures that were encoded, of the first tensor-parallel rank.",
)
ROWS_KEPT: Final = CounterFamily(
    "sppruner_encoder_rows",
    "Images and videos that a worker was to encode, by whether it had kept their rows.",
    (KEPT,),
    note="`hit`: the encoder was spared; so it is for all but the first of equal pictures in one step. "
    "`--rows-cache-mib 0`: none are counted.",
)
ROWS_EVICTED: Final = CounterFamily(
    "sppruner_encoder_rows_evicted", "Images and videos whose rows made room for others."
)
ROWS_HELD_BYTES: Final = GaugeFamily(
    "sppruner_encoder_rows_bytes",
    "Bytes of encoder rows that workers keep now.",
    across="livesum",
    note="As the last step with images left it. As above, of the first tensor-parallel rank: every rank keeps its own.",
)
TIME_TO_FIRST_TOKEN_SECONDS: Final = HistogramFamily(
    "sppruner_time_to_first_token_seconds",
    "From a request's arrival at our route to its first output token, for requests with images or videos.",
    (RATIO_BAND,),
    buckets=_FIRST_TOKEN_BUCKETS,
    note="Until the API server has the token. Answers that are not streamed count too, unless vLLM runs with "
    "`--disable-log-stats`.",
)
OUTPUT_TOKENS: Final = CounterFamily(
    "sppruner_output_tokens",
    "Tokens generated for requests with images or videos.",
    (RATIO_BAND,),
    note="As in `usage`, and also what a client did not wait for.",
)
SHADOW_ANSWERS: Final = CounterFamily(
    "sppruner_shadow_answers",
    "Requests asked again with every visual token, by whether the answer was the same.",
    (AGREEMENT, RATIO_BAND),
    note="`--shadow-share`; else 0. `sampled`: the request's temperature was above 0, so that answers differ by "
    "chance; its log-probabilities count below. See operations.md, “Shadow”.",
)
SHADOW_GAP: Final = HistogramFamily(
    "sppruner_shadow_logprob_gap_nats",
    "How much likelier the whole picture finds its own token than the answer's, where they first differ.",
    (DECODING, RATIO_BAND),
    buckets=_GAP_BUCKETS,
    note="0 for the same answer. A token that is not among the 20 likeliest counts as the last of them. After a "
    "temperature above 0 chance makes gaps too.",
)
SHADOW_GIVEN_UP: Final = CounterFamily(
    "sppruner_shadow_given_up",
    "Requests that were to be asked again and were not, or not to the end, by reason.",
    (GIVEN_UP,),
)
SELECTIONS_TOLD: Final = CounterFamily(
    "sppruner_selections_told",
    "Requests that asked which visual tokens were kept, by how they asked and whether they were told.",
    (ASKED_BY, TELLING),
    note="`--explain`; else 0. `endpoint`: `/v1/visual-tokens`; `answer`: `include` of a chat. `lost`: too many asked "
    "at once for a worker to remember.",
)
PART_SECONDS: Final = GaugeFamily(
    "sppruner_part_seconds",
    "What the parts of a prefill took when the first worker of this server started.",
    (PART,),
    note="`prefill`: one prompt token in the language model. Selecting K of an image's N rows takes `image` + "
    "N · `row` + N · K · `pair`. All 0 where nothing was measured, so that no image is left whole because of it.",
)
BUILD_INFO: Final = GaugeFamily(
    "sppruner_build_info",
    "Always 1; the labels say what is running.",
    (
        Label("version", meaning="of this package"),
        Label("vllm_version", meaning="of vLLM"),
        Label("algorithm_version", meaning="of the selection: the same one keeps the same tokens"),
    ),
)
KEEP_RATIO_LIMIT: Final = GaugeFamily(
    "sppruner_keep_ratio_limit",
    "Keep ratios the operator set: the smallest and largest a request may ask for, and the default.",
    (BOUND,),
)
DEFAULT_KEEP_RATIO: Final = GaugeFamily(
    "sppruner_default_keep_ratio",
    "Keep ratio of a request that names none, now.",
    note="Below the operator's default while `--load-floor-ratio` lets it slide; of several API processes that of the "
    "one that changed it last.",
)
REQUESTS_WAITING: Final = GaugeFamily(
    "sppruner_requests_waiting",
    "Requests that are being rendered, or whose first token is not there yet.",
    note="With `--load-floor-ratio`; else 0.",
    across="livesum",
)

FAMILIES: Final[tuple[CounterFamily | HistogramFamily | GaugeFamily, ...]] = (
    VISUAL_TOKENS_ORIGINAL,
    VISUAL_TOKENS_RETAINED,
    REQUESTED_RATIO,
    IMAGE_KEEP_RATIO,
    VIDEO_KEEP_RATIO,
    RETAINED_RATIO,
    RETAINED_TOKENS,
    SKIPPED,
    SHRUNK,
    FOCUS_SCOPE,
    KV_TOKENS_SAVED,
    PREFILL_TOKENS_SAVED,
    REQUESTS,
    REQUESTS_IN_FLIGHT,
    REJECTED,
    SELECTION_SECONDS,
    QUESTION_SECONDS,
    REPEATS,
    ROWS_KEPT,
    ROWS_EVICTED,
    ROWS_HELD_BYTES,
    TIME_TO_FIRST_TOKEN_SECONDS,
    OUTPUT_TOKENS,
    SHADOW_ANSWERS,
    SHADOW_GAP,
    SHADOW_GIVEN_UP,
    SELECTIONS_TOLD,
    PART_SECONDS,
    BUILD_INFO,
    KEEP_RATIO_LIMIT,
    DEFAULT_KEEP_RATIO,
    REQUESTS_WAITING,
)
