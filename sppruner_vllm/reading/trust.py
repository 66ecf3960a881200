"""How far a selection trusts states of the middle layers, which rows of a picture were not trained to resemble."""

from __future__ import annotations

from dataclasses import replace

from sppruner_vllm.reduction import FocusContextParams, get_method


def trusting_states(constants: FocusContextParams) -> FocusContextParams:
    """The constants for queries that are states.

    States are less alike in all directions than word embeddings are: where the rows of a picture spread along one of
    them both ways, the gate has to stay shut. With that taken off, noise hardly ever narrows a picture down by more
    than one nat, and a question that does so by less than two may be meant.
    """
    return replace(constants, gate_contrast=True, gate_concentration=(1.0, 1.5))


def constants_for_states(method: str) -> FocusContextParams | None:
    """Constants of a method with a gate, for queries that are states; None for the method's own, where it has none."""
    constants = get_method(method).constants
    return trusting_states(constants) if isinstance(constants, FocusContextParams) else None
