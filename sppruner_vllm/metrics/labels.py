"""Labels of the metrics and the closed sets of their values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from sppruner_vllm.metrics.bands import RATIO_BANDS
from sppruner_vllm.planning.accounting import Modality
from sppruner_vllm.planning.plan import SkippedReason
from sppruner_vllm.planning.scope import Served

Outcome = Literal["success", "client_error", "server_error", "client_disconnect"]

AskedBy = Literal["endpoint", "answer"]

GivenUp = Literal["busy", "draining", "hourly_cap", "failed"]

RejectedReason = Literal[
    "invalid_keep_ratio",
    "invalid_keep_tokens",
    "invalid_keep_tokens_total",
    "invalid_max_pixels",
    "invalid_focus_query",
    "invalid_focus_scope",
    "invalid_reduction_method",
    "unsupported_parameter",
    "unknown_parameter",
    "too_many_unreduced_tokens",
    "invalid_image",
    "image_too_large",
    "image_fetch_failed",
    "image_url_forbidden",
    "image_cut_off",
    "invalid_media",
    "media_too_large",
    "context_length_exceeded",
    "invalid_json",
    "invalid_value",
    "missing_required_parameter",
    "model_not_found",
    "unsupported_media_type",
    "invalid_api_key",
    "request_timeout",
    "request_too_large",
    "head_too_large",
    "invalid_http",
    "rate_limit_exceeded",
    "server_overloaded",
]
"""The error codes of our own refusals (docs/use/api.md, "Errors")."""

OTHER: Final = "other"
"""Stands for any value outside a label's closed set."""


@dataclass(frozen=True, slots=True)
class Label:
    """A label: its closed set of values, or, where the set is not ours to write down, what the values are."""

    name: str
    values: tuple[str, ...] = ()
    meaning: str = ""

    def bound(self, value: str | None) -> str:
        """The value itself when it is of the set, else `other`."""
        return value if value in self.values else OTHER


OUTCOME: Final = Label("outcome", get_args(Outcome))
REJECTED_REASON: Final = Label("reason", (*get_args(RejectedReason), OTHER))
SKIPPED_REASON: Final = Label("reason", (*get_args(SkippedReason), OTHER))
RATIO_BAND: Final = Label("ratio_band", RATIO_BANDS)
KEPT: Final = Label("kept", ("hit", "miss"))
SCOPE: Final = Label("scope", get_args(Served))
BOUND: Final = Label("bound", ("min", "default", "max"))
PART: Final = Label("part", ("prefill", "image", "row", "pair"))
AGREEMENT: Final = Label("agreement", ("same", "different", "sampled"))
DECODING: Final = Label("decoding", ("greedy", "sampled"))
GIVEN_UP: Final = Label("reason", get_args(GivenUp))
ASKED_BY: Final = Label("asked_by", get_args(AskedBy))
TELLING: Final = Label("telling", ("told", "lost"))
MODALITY: Final = Label("modality", get_args(Modality))
METHOD: Final = Label("method", meaning="a selection method")
