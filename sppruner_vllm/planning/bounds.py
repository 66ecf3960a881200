"""How much a request may ask of the vision encoder: a keep ratio opens no way to work that ratio 1 would be refused.

Counted before anything is dropped, and before an image is processed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sppruner_vllm.errors import InvalidField
from sppruner_vllm.request.fields import KEEP_RATIO

TOO_MANY: Final = "too_many_unreduced_tokens"
TOO_LONG: Final = "context_length_exceeded"
MESSAGES: Final = "messages"


@dataclass(frozen=True, slots=True)
class Bounds:
    """picture, prompt, video: most tokens of one. positions: most that a prompt may take."""

    picture: int
    prompt: int
    positions: int
    video: int

    def refuse(self, tokens: int, pictures: Sequence[int] = (), positions: int = 0, videos: Sequence[int] = ()) -> None:
        """Refuse a reduced request for what it would be without reduction.

        Args:
            tokens: of the whole prompt. pictures, videos: tokens of each that is encoded. positions: those the prompt
                takes, since kept tokens stay where they were.

        Raises:
            InvalidField: says what there is too much of, and how much there may be.
        """
        for index, size in enumerate(pictures):
            if size > self.picture:
                raise _refusal(f"image {index} has {size} visual tokens before reduction; there may be {self.picture}")
        for index, size in enumerate(videos):
            if size > self.video:
                raise _refusal(f"video {index} has {size} visual tokens before reduction; there may be {self.video}")
        if tokens > self.prompt:
            raise _refusal(f"before reduction this prompt has {tokens} tokens; there may be {self.prompt}")
        if positions > self.positions:
            raise _refusal(f"before reduction this prompt takes {positions} positions; there are {self.positions}")


def refuse_beyond_context(tokens: int, context: int) -> None:
    """Refuse a prompt of which nothing is dropped for its length, before its pictures are processed.

    Args:
        tokens: of the whole prompt. context: most that a prompt may have.

    Raises:
        InvalidField: context_length_exceeded.
    """
    if tokens > context:
        message = f"this prompt has {tokens} tokens with its images; the model's context holds {context}"
        raise InvalidField(MESSAGES, message, code=TOO_LONG)


def refuse_media(taken: int, prompt: int, tokens: int, one: int, what: str, *, reduced: bool) -> None:
    """Refuse pictures and videos that cannot fit whatever the text beside them, before they are decoded.

    Args:
        taken: visual tokens of those so far, the last one included, without any reduction. prompt: most that all may
            have. tokens: of the last one. one: most that one may have. what: the last one is, with its article.
        reduced: whether the request asks for fewer.

    Raises:
        InvalidField: with the code that the prompt would be refused with.
    """
    if tokens > one and reduced:
        raise _refusal(f"{what} has {tokens} visual tokens before reduction; there may be {one}")
    if taken > prompt and reduced:
        raise _refusal(f"before reduction the media of this prompt have {taken} tokens; there may be {prompt}")
    if taken > prompt:
        message = f"the media of this prompt have {taken} tokens; the model's context holds {prompt}"
        raise InvalidField(MESSAGES, message, code=TOO_LONG)


def _refusal(message: str) -> InvalidField:
    return InvalidField(KEEP_RATIO, message, code=TOO_MANY)
