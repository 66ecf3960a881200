"""The words of a request that say how much of its images is kept, as they are documented."""

from __future__ import annotations

from typing import Annotated, Any, Final, get_args

from pydantic import BaseModel, Field, WithJsonSchema

from sppruner_vllm.settings import FEWEST_TOKENS, FocusScope

KEEP_RATIO: Final = "keep_ratio"
KEEP_TOKENS: Final = "keep_tokens"
KEEP_TOKENS_TOTAL: Final = "keep_tokens_total"
MAX_PIXELS: Final = "max_pixels"
FOCUS_QUERY: Final = "focus_query"
FOCUS_SCOPE: Final = "focus_scope"
REDUCTION_METHOD: Final = "reduction_method"

AUTO: Final = "auto"
"""In place of a ratio: one that fits the picture."""

MAX_FOCUS_QUERY_CHARS: Final = 4096
FOCUS_SCOPES: Final[tuple[FocusScope, ...]] = get_args(FocusScope)


def _documented(*others: dict[str, object], **schema: object) -> Any:
    return WithJsonSchema({"anyOf": [schema, *others, {"type": "null"}]})


_RATIO: Final[dict[str, object]] = {"type": "number", "exclusiveMinimum": 0, "maximum": 1}
_PIXELS: Final[dict[str, object]] = {"type": "integer", "minimum": 1}
_LIMITS: Final[dict[str, object]] = {"type": "array", "items": {"anyOf": [_PIXELS, {"type": "null"}]}}
_AUTO: Final[dict[str, object]] = {"const": AUTO}
_RATIOS: Final[dict[str, object]] = {"type": "array", "items": {"anyOf": [_RATIO, _AUTO, {"type": "null"}]}}


class ReductionFields(BaseModel):
    """What a request may say about its images; a field left out or null means the operator's default.

    Any value is taken here: pydantic would turn "0.5" and true into numbers and answer in another shape.
    """

    keep_ratio: Annotated[Any, _documented(_AUTO, _RATIOS, **_RATIO)] = Field(
        None,
        description="Fraction of the visual tokens of each image and video to keep; or `auto`, or a list, for images.",
    )
    keep_tokens: Annotated[Any, _documented(type="integer", minimum=FEWEST_TOKENS)] = Field(
        None, description="Visual tokens to keep per image. Not together with keep_ratio."
    )
    keep_tokens_total: Annotated[Any, _documented(type="integer", minimum=FEWEST_TOKENS)] = Field(
        None,
        description="Visual tokens that all images and videos share. Not together with keep_ratio or keep_tokens.",
    )
    max_pixels: Annotated[Any, _documented(_LIMITS, **_PIXELS)] = Field(
        None, description="Most pixels that an image is encoded with, or a list with a number for each image."
    )
    focus_query: Annotated[Any, _documented(type="string", maxLength=MAX_FOCUS_QUERY_CHARS)] = Field(
        None, description="Text that steers which tokens are kept, in place of the text beside the image."
    )
    focus_scope: Annotated[Any, _documented(type="string", enum=list(FOCUS_SCOPES))] = Field(
        None, description="Whether the question steers which tokens are kept, or one selection serves all questions."
    )
    reduction_method: Annotated[Any, _documented(type="string")] = Field(
        None, description="Selection method. Refused unless the operator allows it."
    )


REQUEST_FIELDS: Final = tuple(ReductionFields.model_fields)
