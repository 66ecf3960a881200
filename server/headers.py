"""The response headers that say what was reduced, and the only place that spells their names."""

from __future__ import annotations

from typing import Final

from sppruner_vllm.planning.accounting import VisualTokens

ORIGINAL: Final = "x-sppruner-visual-tokens-original"
RETAINED: Final = "x-sppruner-visual-tokens-retained"
KEEP_RATIO: Final = "x-sppruner-keep-ratio"
METHOD: Final = "x-sppruner-method"
FOCUS_SCOPE: Final = "x-sppruner-focus-scope"
SKIPPED_REASON: Final = "x-sppruner-skipped-reason"
SHRUNK_IMAGES: Final = "x-sppruner-shrunk-images"
IMAGES_RETAINED: Final = "x-sppruner-images-retained"
IMAGES_KEEP_RATIO: Final = "x-sppruner-images-keep-ratio"

MOST_IMAGES: Final = 64
"""Images that a header tells of one by one; of more, the usage alone does."""


def headers_of(tokens: VisualTokens) -> dict[str, str]:
    """The headers of a response to a request with images or videos.

    SKIPPED_REASON only when nothing was reduced, FOCUS_SCOPE only where a question could steer, those of single images
    only where what was asked could differ between them, or there are videos.

    Numbers read back as the very values in `usage`.
    """
    headers = {
        ORIGINAL: str(tokens.original),
        RETAINED: str(tokens.retained),
        KEEP_RATIO: repr(tokens.keep_ratio),
        METHOD: tokens.method,
    }
    if tokens.focus_scope is not None:
        # Each once, in the order of the images: a header has to stay short.
        headers[FOCUS_SCOPE] = ",".join(dict.fromkeys(tokens.focus_scope.split(",")))
    if tokens.shrunk:
        headers[SHRUNK_IMAGES] = str(tokens.shrunk)
    if 0 < len(tokens.images) <= MOST_IMAGES:
        headers[IMAGES_RETAINED] = ",".join(str(image.retained) for image in tokens.images)
        headers[IMAGES_KEEP_RATIO] = ",".join(repr(image.keep_ratio) for image in tokens.images)
    if tokens.skipped_reason is not None:
        headers[SKIPPED_REASON] = tokens.skipped_reason
    return headers
