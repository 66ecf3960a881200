"""The switches and constants of the focus-then-context selection.

One place for every number in docs/develop/algorithm.md, so that an ablation is one changed field. What a comparator
shares with it is a record of its own, which it extends: a comparator takes either.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from sppruner_vllm.reduction.core.params import QueryParams

CurveName = Literal["hilbert", "boustrophedon", "raster"]


@dataclass(frozen=True)
class SaliencyParams:
    """Constants of saliency.

    saliency_clip: share of tokens clipped at either end before saliency is scaled to [0, 1].
    attention_share: share of saliency given by column attention, for images that come with it; 0 ignores it.
    """

    saliency_clip: float = 0.01
    attention_share: float = 0.5

    def __post_init__(self) -> None:
        """Refuse constants outside their meaning.

        Raises:
            ValueError: names the field.
        """
        _check_shares(attention_share=self.attention_share)
        if not 0 <= self.saliency_clip < 0.5:
            raise ValueError(f"saliency_clip must be in [0, 0.5), got {self.saliency_clip}")


@dataclass(frozen=True)
class WordParams:
    """Constants of the choice among query tokens.

    text_keep: share of query tokens kept, those of lowest entropy; at least one.
    text_gamma: how fast a kept query token loses weight with its entropy, in nats.
    """

    text_keep: float = 0.35
    text_gamma: float = 0.5

    def __post_init__(self) -> None:
        """Refuse constants outside their meaning.

        Raises:
            ValueError: names the field.
        """
        _check_shares(text_keep=self.text_keep)
        _check_positive(text_gamma=self.text_gamma)


@dataclass(frozen=True)
class FocusContextParams(SaliencyParams, WordParams, QueryParams):
    """Defaults, chosen on the demo model (docs/develop/algorithm.md, "Ablations") from where the literature starts.

    Has the fields of `SaliencyParams`, `WordParams` and `QueryParams` too.

    blind_power: power of saliency where there is no trusted query: a second token of what stands out clearly comes
        before the first of what hardly does.
    echo_discount: how far a token that resembles a more salient neighbour loses its standing where there is no trusted
        query; 0 turns it off.
    temperature: of the text-to-image softmax, in units of 1 / sqrt(D), the spread of a random cosine.
    smoothing: smooth relevance on the grid.
    gate: False trusts the query fully.
    gate_concentration: nats by which the query must narrow the image down: below the first the gate is shut, above the
        second this half of it is open.
    gate_coherence: the same for Moran's I of the relevance map.
    gate_contrast: of these nats, those by which the query pointing the other way narrows the image down are no sign of
        meaning, beyond what a random direction does.
    states_concentration: gate_concentration for a question that the language model has read.
    relevance_weight: lambda of the fusion, how much relevance adds under a trusted query to a standing of at most 1.
    relevance_power: alpha of the fusion.
    surroundings: beta of the fusion, how much of its own standing what surrounds a named token gains; 0 turns it off.
    focus_mass: share of the fused mass that the tokens with a claim to the budget hold.
    focus_cap: largest share of the budget that is called focus; one token may always be.
    scan_share: share of the budget that the context scan has at least.
    curve: order in which the context scan walks the grid.
    context_saliency: share of a context token's weight that depends on its standing.
    context_floor: weight that every context token has regardless.
    quota_share: share of the budget that may go to one token per coarse cell without focus; 0 turns the quota off.
    repeat_discount: how far a token of a video that shows what the frame before showed there loses its saliency and its
        relevance; 0 turns it off. Not tuned.
    """

    blind_power: float = 2.0
    echo_discount: float = 0.7
    temperature: float = 1.0
    smoothing: bool = True
    gate: bool = True
    gate_concentration: tuple[float, float] = (1.0, 2.0)
    gate_coherence: tuple[float, float] = (0.1, 0.4)
    gate_contrast: bool = False
    states_concentration: tuple[float, float] = (1.0, 1.5)
    relevance_weight: float = 1.0
    relevance_power: float = 4.0
    surroundings: float = 0.5
    focus_mass: float = 0.9
    focus_cap: float = 0.5
    scan_share: float = 0.0
    curve: CurveName = "hilbert"
    context_saliency: float = 0.8
    context_floor: float = 0.1
    quota_share: float = 0.25
    repeat_discount: float = 0.7

    @cached_property
    def for_states(self) -> FocusContextParams:
        """The same for a query that is states of middle layers, which rows of a picture were not trained to resemble.

        States are less alike in all directions than word embeddings are: where the rows of a picture spread along one
        of them both ways, the gate has to stay shut. With that taken off, noise hardly ever narrows a picture down by
        more than one nat, and a question that does so by less than two may be meant.
        """
        return replace(self, gate_contrast=True, gate_concentration=self.states_concentration)

    def __post_init__(self) -> None:
        """Refuse constants outside their meaning.

        Raises:
            ValueError: names the field.
        """
        SaliencyParams.__post_init__(self)
        WordParams.__post_init__(self)
        _check_shares(
            echo_discount=self.echo_discount,
            focus_mass=self.focus_mass,
            focus_cap=self.focus_cap,
            scan_share=self.scan_share,
            context_saliency=self.context_saliency,
            quota_share=self.quota_share,
            repeat_discount=self.repeat_discount,
        )
        _check_positive(temperature=self.temperature)
        for name in ("gate_concentration", "gate_coherence", "states_concentration"):
            low, high = getattr(self, name)
            if not low < high:
                raise ValueError(f"{name} must rise, got ({low}, {high})")
        if not 0 < self.context_floor <= 1:
            raise ValueError(f"context_floor must be in (0, 1], got {self.context_floor}")
        for name in ("relevance_weight", "relevance_power", "surroundings", "blind_power"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.curve not in ("hilbert", "boustrophedon", "raster"):
            raise ValueError(f"curve must be hilbert, boustrophedon or raster, got {self.curve!r}")


def _check_shares(**values: float) -> None:
    for name, value in values.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must be in [0, 1], got {value}")


def _check_positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name} must be above 0, got {value}")
