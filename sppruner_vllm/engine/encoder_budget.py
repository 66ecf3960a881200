"""What the pictures of one step cost the vision encoder, before anything of them is dropped.

vLLM counts the rows that a picture keeps twice: as work of the encoder, and as room in the cache of its rows. Only the
second is true of a reduced picture. Here the first is counted, in unreduced tokens.
"""

from __future__ import annotations

from typing import Any, Final

from cachetools import LRUCache
from vllm.v1.request import Request

from sppruner_vllm.wire import decode_item

REMEMBERED: Final = 1024
"""Pictures whose unreduced size is kept in mind, for the scheduler asks about those that wait in every step.

It looks at few of them, and each further question about a picture is another entry: more would only take longer to be
full."""


class EncoderBudget:
    """Stands before vLLM's encoder cache manager and lets a picture into a step only if the encoder has room for it.

    Pictures are let in as long as their unreduced tokens fit vLLM's compute budget. From the first reduced picture of a
    step on they are also let in only where they would be begun if nothing were dropped: within the prompt tokens of a
    step, counted unreduced, in their order. What the last of them exceeds the step by is taken from the next, where its
    rest would be. So every step encodes what it would encode unreduced, and has less to do after that. A picture larger
    than the whole compute budget is let in alone. Where nothing is reduced, vLLM decides by itself.
    """

    def __init__(self, manager: Any) -> None:
        """Args:
        manager: vLLM's, which counts the room for kept rows; whatever else is asked is asked of it.
        """
        self._manager = manager
        # Asked of every request in every step, and a name that is found takes a tenth of the time.
        self.get_cached_input_ids = manager.get_cached_input_ids
        self._sizes: LRUCache[str, int] = LRUCache(maxsize=REMEMBERED)
        self._room = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._manager, name)

    def start_step(self, compute: int, tokens: int) -> None:
        """A new step: nothing is encoded in it yet.

        Args:
            compute: encoder tokens of a step. tokens: prompt tokens of a step, both as vLLM has them.
        """
        # At least one token, or a step could stay empty while a picture much larger than a step is made up for.
        self._room = max(1, tokens + min(0, self._room))
        self._compute, self._dropped = compute, 0

    def spend(self, tokens: int) -> None:
        """Count the tokens in this step of a request that has no picture left to encode."""
        self._room -= tokens

    def is_full(self, request: Request, first: int) -> bool:
        """Whether a request with a picture ahead would get no token in this step if nothing were dropped.

        Args:
            first: index of the request's first token in this step.
        """
        ahead = request.mm_features and request.mm_features[-1].mm_position.offset >= first
        return bool(ahead and self._dropped and self._room <= 0)

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
        if self._asked or self._dropped_here or self._dropped:
            place = request.mm_features[input_id].mm_position
            if place.offset - self._first + self._dropped_here >= self._room:
                return False
            idle = left == self._compute
            left -= self._dropped_here
            if not idle and place.get_num_embeds() + self._asked > left:
                return False
        return bool(self._manager.can_allocate(request, input_id, left, rows))

    def charge(self, request: Request, scheduled: list[int], tokens: int, left: int) -> int:
        """Encoder tokens left when the pictures of a request are charged in full.

        Args:
            scheduled: its pictures that are encoded in this step. tokens: its prompt tokens in this step.
            left: what vLLM has left, having charged kept rows.
        """
        dropped = sum(self.dropped(request, input_id) for input_id in scheduled)
        self._room -= tokens + dropped
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
