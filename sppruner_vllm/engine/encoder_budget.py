"""What the pictures of one step cost the vision encoder, before anything of them is dropped.

vLLM counts the rows that a picture keeps twice: as work of the encoder, and as room in the cache of its rows. Only the
second is true of a reduced picture. Here the first is counted, in unreduced tokens.
"""

from __future__ import annotations

from typing import Any, Final

from cachetools import LRUCache
from vllm.v1.request import Request

from sppruner_vllm.wire import decode_item

GROWTH: Final = 16
"""Steps with requests left waiting after which a step takes all that it would unreduced: few, for one picture at a time
feeds only as many answers as they have tokens, and a queue must not stand for long."""

DECLINE: Final = 32
"""Steps without any after which a step takes one again."""

REMEMBERED: Final = 8192
"""Pictures whose unreduced size is kept in mind, for the scheduler asks about those that wait in every step."""


class EncoderBudget:
    """Stands before vLLM's encoder cache manager and lets a picture into a step only if the encoder has room for it.

    Pictures are let in as long as their unreduced tokens fit vLLM's compute budget. From the first reduced picture of a
    step on they are also let in only where they would be begun if nothing were dropped: within the prompt tokens of a
    step, counted unreduced, in their order. What the last of them exceeds the step by is taken from the next, where its
    rest would be. So no step encodes more than it would unreduced, and each has less to do after that. A picture larger
    than the whole compute budget is let in alone. Where nothing is reduced, vLLM decides by itself.

    What one step would take unreduced is gone through in parts, each a step of its own, request by request as long as
    few wait: no first token has to wait for the pictures of those behind it. While requests are left waiting the parts
    grow, to the whole, so that a long queue costs no more steps than unreduced.
    """

    def __init__(self, manager: Any) -> None:
        """Args:
        manager: vLLM's, which counts the room for kept rows; whatever else is asked is asked of it.
        """
        self._manager = manager
        # Asked of every request in every step, and a name that is found takes a tenth of the time.
        self.get_cached_input_ids = manager.get_cached_input_ids
        self._sizes: LRUCache[str, int] = LRUCache(maxsize=REMEMBERED)
        self._room = self._share = self._compute = self._remaining = self._before = 0
        self._held = self._blocked = self._goes_on = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._manager, name)

    def start_step(self, compute: int, tokens: int) -> None:
        """A new step: nothing is encoded in it yet.

        Args:
            compute: encoder tokens of a step. tokens: prompt tokens of a step, both as vLLM has them.
        """
        if self._held or self._blocked or self._room <= 0:  # someone was left waiting
            self._share = min(tokens, self._share + max(1, tokens // GROWTH))
        else:
            self._share = max(0, self._share - tokens // DECLINE)
        self._goes_on = self._held and self._room > 0
        if self._goes_on:
            self._before += self._compute - self._remaining
        else:
            self._start_unreduced(tokens)
        self._compute = self._remaining = compute
        self._tokens = tokens
        self._dropped = self._begun = 0
        self._held = self._blocked = False

    def _start_unreduced(self, tokens: int) -> None:
        """A step of vLLM's is over, and this one is the first part of the next."""
        self._goes_on, self._before = False, 0
        # At least one token, or a step could stay empty while a picture much larger than a step is made up for.
        self._room = max(1, tokens + min(0, self._room))

    def spend(self, tokens: int) -> None:
        """Count the tokens in this step of a request that has no picture left to encode."""
        # Another part of one step: the next token of an answer would come in the next step.
        self._room -= tokens - self._goes_on

    def is_full(self, request: Request, first: int) -> bool:
        """Whether a request with a picture ahead has to wait for another step.

        It has to where it would get no token if nothing were dropped, or for this part of the step is large enough.

        Args:
            first: index of the request's first token in this step.
        """
        ahead = request.mm_features and request.mm_features[-1].mm_position.offset >= first
        if not (ahead and (self._dropped or self._goes_on)):
            return False
        self._held = self._room > 0 and self._begun >= self._share and not self._blocked
        return self._held or self._room <= 0

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
            idle = left == self._compute
            if place.offset - self._first + self._dropped_here >= self._room:
                if not (idle and self._goes_on):
                    self._blocked = True
                    return False
                # Nothing else is left of the step than text before this picture, with which the next one begins.
                self._goes_on, self._before = False, 0
                self._room += self._tokens
            left -= self._dropped_here + self._before
            fits = place.get_num_embeds() + self._asked <= left
            if not fits and not idle:
                self._blocked = True
                return False
            if not fits and self._before:  # unreduced it would be the first of the next step
                left += self._before
                self._start_unreduced(self._tokens)
        return bool(self._manager.can_allocate(request, input_id, left, rows))

    def charge(self, request: Request, scheduled: list[int], tokens: int, left: int) -> int:
        """Encoder tokens left when the pictures of a request are charged in full.

        Args:
            scheduled: its pictures that are encoded in this step. tokens: its prompt tokens in this step.
            left: what vLLM has left, having charged kept rows.
        """
        dropped = sum(self.dropped(request, input_id) for input_id in scheduled)
        self._room -= tokens + dropped
        if dropped:
            self._dropped += dropped
            self._begun += tokens + dropped
        self._remaining = max(0, left - dropped)
        return self._remaining

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
