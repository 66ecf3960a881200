"""What is said of each picture's and video's selection, in `usage` of a chat and in the answer of /v1/visual-tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastapi import Request

from sppruner_vllm.errors import InvalidField
from sppruner_vllm.metrics.events import count_telling
from sppruner_vllm.metrics.labels import AskedBy
from sppruner_vllm.planning.telling import AskedAbout
from sppruner_vllm.reduction.pieces import Piece
from sppruner_vllm.settings import settings
from sppruner_vllm.told import Told

from ..body.fields import INCLUDE, SELECTION
from ..request.record import RequestRecord

_DIGITS: Final = 4
"""Of a number of a map: finer than any colour."""

_LAST: Final = b'"choices":[]'


def asks_for_selection(request: Any) -> bool:
    """Whether a chat wants the selection beside its answer.

    Raises:
        InvalidField: it includes something else, or what this server does not tell, or there is no place for it.
    """
    if not includes_selection(request):
        return False
    if not settings().explains:
        raise InvalidField(INCLUDE, f"this server does not tell {SELECTION}", code="unsupported_parameter")
    if request.stream and not (request.stream_options and request.stream_options.include_usage):
        message = f"{SELECTION} stands in the usage of a stream: set stream_options.include_usage"
        raise InvalidField(INCLUDE, message, code="unsupported_parameter")
    return True


def includes_selection(request: Any) -> bool:
    """Whether a request includes the selection.

    Raises:
        InvalidField: it includes something else.
    """
    wanted = getattr(request, INCLUDE, None)
    if wanted is None or wanted == []:
        return False
    if not isinstance(wanted, list) or any(one != SELECTION for one in wanted):
        raise InvalidField(INCLUDE, f"include may hold {SELECTION} and nothing else", code="invalid_value")
    return True


def is_last(chunk: str | bytes) -> bool:
    """Whether a piece of a chat's stream holds the event that ends it with the usage."""
    return _LAST in (chunk.encode() if isinstance(chunk, str) else chunk)


async def settle(record: RequestRecord, asked_by: AskedBy) -> None:
    """Wait for what the workers tell, and let the record have it."""
    told = {} if record.told is None else await record.told
    found = [told.get(record.telling.name_of(i)) for i in range(len(record.asked_about))] if record.telling else []
    pairs = list(zip(record.asked_about, found, strict=True))
    record.selection = [_described(about, one) for about, one in pairs]
    frames = [[told.get(name) for name in names] for names in record.names_of_frames]
    record.video_selections = [_video(own) for own in frames]
    complete = all(one is not None or not about.selected for about, one in pairs)
    count_telling(asked_by, told=complete and all(None not in own for own in frames))


def _described(about: AskedAbout, told: Told | None) -> dict[str, Any]:
    """One picture. What is not known of it is null; so is `kept` of a selection that a worker has forgotten."""
    plan = about.plan
    fixed: dict[str, Any] = {
        "grid": list(about.shown),
        "grid_as_sent": list(about.grid),
        "pieces": [_piece(piece) for piece in about.pieces if piece.tokens] or None,
        "original": plan.original,
        "retained": plan.retained,
        "method": plan.method,
        "focus_scope": plan.scope,
        "skipped_reason": plan.skipped_reason,
    }
    if told is None:
        kept = None if about.selected else list(range(plan.encoded))
        return {**fixed, "kept": kept, **dict.fromkeys(_UNKNOWN)}
    return {
        **fixed,
        **_of_rows(told),
        "through_encoder": told.through,
        "encoder_spared": told.spared,
        "seconds": round(told.seconds, 6),
    }


def _video(frames: Sequence[Told | None]) -> dict[str, Any] | None:
    """One video, by its frames; None where it was left whole, and where a worker has forgotten any of them."""
    told = [frame for frame in frames if frame is not None]
    if not told or len(told) < len(frames):
        return None
    return {
        "grid": list(told[0].grid),
        "frames": [_of_rows(frame) for frame in told],
        "encoder_spared": told[0].spared,
        "seconds": round(told[0].seconds, 6),
    }


def _of_rows(told: Told) -> dict[str, Any]:
    """What was kept of one grid, and why."""
    return {
        "kept": told.kept,
        "focus": [token for token, focus in zip(told.kept, told.focus, strict=True) if focus],
        "saliency": _rounded(told.saliency),
        "relevance": None if told.relevance is None else _rounded(told.relevance),
        "gate": None if told.relevance is None else ("open" if any(told.relevance) else "shut"),
    }


def _piece(piece: Piece) -> dict[str, Any]:
    return {"grid": list(piece.grid), "tokens": [piece.row(token) for token in range(piece.tokens)]}


_UNKNOWN: Final = ("focus", "saliency", "relevance", "gate", "through_encoder", "encoder_spared", "seconds")


def _rounded(values: list[float]) -> list[float]:
    return [round(value, _DIGITS) for value in values]


def kv_bytes_of(raw_request: Request) -> Mapping[str, int]:
    """What a token takes in this server's KV cache."""
    return {"kv_bytes_per_token": raw_request.app.state.sppruner_kv_bytes}
