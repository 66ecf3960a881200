"""What the pictures of one step cost the vision encoder, before anything of them is dropped.

vLLM counts the rows that a picture keeps twice: as work of the encoder, and as room in the cache of its rows. Only the
second is true of a reduced picture. Here the first is counted, in unreduced tokens.
"""

from __future__ import annotations

from typing import Any, Final

from cachetools import LRUCache
from vllm.v1.request import Request

from sppruner_vllm.wire import decode_item

REMEMBERED: Final = 8192
"""Pictures whose unreduced size is kept in mind, for the scheduler asks about those that wait in every step."""


class EncoderBudget:
    """Stands before vLLM's encoder cache manager and lets a picture into a step only if the encoder has room for it.

    Pictures are let in as long as their unreduced tokens fit vLLM's compute budget. From the first reduced picture of a
    step on they must also fit, together with the text around them, the tokens of a step: no more pictures share a step
    than would unreduced, so none waits for the encoding of more. A picture that finds the encoder idle is always let
    in, so that none can wait for ever. Where nothing is reduced, vLLM decides alone.
    """

    def __init__(self, manager: Any) -> None:
        """Args:
        manager: vLLM's, which counts the room for kept rows; whatever else is asked is asked of it.
        """
        self._manager = manager
        self._sizes: LRUCache[str, int] = LRUCache(maxsize=REMEMBERED)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._manager, name)

    def start_step(self, compute: int, tokens: int) -> None:
        """A new step: nothing is encoded in it yet.

        Args:
            compute: encoder tokens of a step. tokens: prompt tokens of a step, both as vLLM has them.
        """
        self._compute, self._tokens = compute, tokens
        self._spoken_for = self._dropped = 0

    def start_request(self, first: int, left: int) -> None:
        """The pictures of one request are asked about next, in their order.

        Args:
            first: index of the request's first token in this step. left: encoder tokens that are left in the step.
        """
        self._first, self._left, self._dropped_here, self._asked = first, left, 0, 0

    def can_allocate(self, request: Request, input_id: int, left: int, rows: int) -> bool:
        """Whether a picture may be encoded in this step; vLLM's own signature.

        Args:
            left: encoder tokens left, after the kept rows of the request's pictures before this one.
            rows: rows of those pictures, which are to have room in the cache.
        """
        if left < self._left:  # the picture asked about before was taken
            self._dropped_here += self._asked
        self._left, self._asked = left, self.dropped(request, input_id)
        idle = left == self._compute
        if (self._asked or self._dropped_here or self._dropped) and not idle:
            left -= self._dropped_here
            place = request.mm_features[input_id].mm_position
            dropped = self._dropped_here + self._asked
            taken = self._spoken_for + place.offset + place.length - self._first + dropped
            if place.get_num_embeds() + self._asked > left or taken > self._tokens:
                return False
        return bool(self._manager.can_allocate(request, input_id, left, rows))

    def charge(self, request: Request, scheduled: list[int], tokens: int, left: int) -> int:
        """Encoder tokens left when the pictures of a request are charged in full.

        Args:
            scheduled: its pictures that are encoded in this step. tokens: its prompt tokens in this step.
            left: what vLLM has left, having charged kept rows.
        """
        dropped = sum(self.dropped(request, input_id) for input_id in scheduled)
        self._spoken_for += tokens + dropped
        self._dropped += dropped
        return max(0, left - dropped)

    def dropped(self, request: Request, input_id: int) -> int:
        """Tokens of a picture that the encoder computes and the prompt has no place for.

        0 for what carries no order: other media, and pictures that vLLM keeps in shared memory, out of our sight.
        """
        feature = request.mm_features[input_id]
        size = self._sizes.get(feature.identifier)
        if size is None:
            order = None if feature.data is None else decode_item(feature.data)
            size = 0 if order is None else max(0, order.encoded - order.placed)
            self._sizes[feature.identifier] = size
        return size
