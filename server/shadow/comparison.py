"""How far two answers agree: by their tokens, and by what the whole picture thinks of the first that differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from msgspec.structs import replace
from vllm.sampling_params import RequestOutputKind

LONGEST: Final = 64
"""Tokens of an answer that are compared: a longer one differs early or not at all, and costs what it is long."""

CANDIDATES: Final = 20
"""Log-probabilities asked for at each place, as many as vLLM gives by default."""

_GREEDY: Final = 1e-5
"""Temperature below which vLLM takes the likeliest token."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """same: the whole picture gives the same tokens. gap: how much likelier the whole picture finds its own token than
    the answer's at the first place where they differ, in nats; 0 for the same answer, None where nobody can tell.
    """

    same: bool
    gap: float | None


def is_greedy(params: Any) -> bool:
    """Whether an answer to these SamplingParams is the same every time, so that tokens can be compared."""
    return bool(params.temperature < _GREEDY)


def asked_again(params: Any, answer: Sequence[int], most_logprobs: int) -> Any:
    """The SamplingParams for the whole picture: the request's own (grammar, penalties, stops), greedy, no longer.

    Args:
        params: the request's SamplingParams, which stay as they are.
        answer: token ids of its answer, at least one.
        most_logprobs: vLLM's limit, -1 for none.
    """
    longest = min(len(answer), LONGEST)
    return replace(
        params.clone(),
        n=1,
        seed=None,
        temperature=0.0,
        top_p=1.0,
        top_k=0,
        min_p=0.0,
        max_tokens=longest,
        min_tokens=min(params.min_tokens, longest),
        logprobs=(CANDIDATES if most_logprobs < 0 else min(CANDIDATES, most_logprobs)) or None,
        prompt_logprobs=None,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def compare(answer: Sequence[int], whole: Sequence[int], logprobs: Sequence[Mapping[int, Any]] | None) -> Agreement:
    """Compare an answer with that to the whole picture.

    Args:
        answer: token ids, of which LONGEST count.
        whole: token ids of the other.
        logprobs: per token of the other, vLLM's `Logprob` of the likeliest by token id.
    """
    answer = answer[:LONGEST]
    if list(answer) == list(whole):
        return Agreement(same=True, gap=0.0)
    places = min(len(answer), len(whole))
    first = next((place for place in range(places) if answer[place] != whole[place]), None)
    if first is None or not logprobs or first >= len(logprobs):
        return Agreement(same=False, gap=None)
    known = {token: float(found.logprob) for token, found in logprobs[first].items()}
    own = known[whole[first]]
    # An answer's token that is not among the likeliest is less likely than all of them: the gap is at least this.
    return Agreement(same=False, gap=max(0.0, own - known.get(answer[first], min(known.values()))))
