"""What this package asks of a model family; each family answers in one file of `families/`.

Both processes ask: the API process sizes pictures and finds the question, the worker encodes, taps and places. A family
is made from a checkpoint's transformers configuration alone, so that the evaluation can ask it too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

from torch import Tensor, nn

from .planning.query import TurnFinder
from .planning.smaller import Grid
from .planning.videos import FrameGrid
from .reduction import Need
from .reduction.pieces import Piece

Tap: TypeAlias = Need | Literal["through"]
"""What can be overheard in an encoder: what methods read, and which tokens went through the whole of it."""


@dataclass(frozen=True, slots=True)
class TapPoints:
    """Where a vision tower can be listened to, for `worker/taps.py`; None where it cannot.

    attention: the module that is called with rotated `query` and `key`, (1, P, heads, d) of the patches of a batch.
    merger_input: the module whose input is what the merger, or projector, gets: P patches of one width.
    merged: patches that become one visual token; those of a token are neighbours in the tower's order.
    ranks: tensor-parallel ranks that share the heads of one attention.
    order: (N,) int64, the raster index of each visual token of a grid in the order the tower works in; None where that
        is raster order.
    """

    attention: nn.Module | None
    merger_input: nn.Module | None
    merged: int
    ranks: int
    order: Callable[[Grid], Tensor] | None


@dataclass(frozen=True, slots=True)
class Layout:
    """How the rows of one image lie that are more than one grid.

    pieces: the grids, which have all rows, with the ends of their lines.
    in_tower: tokens that the tower makes of it, which are not one for each row.
    arranged: what was overheard of these, (in_tower, ...), as it belongs to the rows, (N, ...); zero at ends of lines.
    """

    pieces: tuple[Piece, ...]
    in_tower: int
    arranged: Callable[[Tensor], Tensor]

    @property
    def rows(self) -> int:
        """How many they are."""
        return sum(piece.tokens + piece.ends for piece in self.pieces)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What is left out of a vision tower of one image.

    first: (N,) int64 on the host, as `TowerCut.repeats` gives it: tokens that have another before them do not enter.
        None lets all enter.
    survive: tokens that go on behind the block of a cut; None for all.
    """

    first: Tensor | None = None
    survive: int | None = None


@dataclass(frozen=True, slots=True)
class TowerCut:
    """A vision tower in which tokens can be dropped.

    usual: block, counted from 0, behind which they are where the operator names none. last: the last that may be named.
    encode: rows of a batch of images, (N, D) of each in raster order: every token has its row, as without a cut. It
        gets the model, the batch as vLLM makes it, what is left out of each image (all have repeats, or none has), and
        the block of the cut, None for none, and a list to which it adds, of each image, (N,) bool in raster order, the
        tokens that went through every block. What `TapPoints` names is still called with all tokens.
    repeats: which tokens of each image of a batch have exactly the pixels of another that could stand for them: for
        each token the place of that one, both in the tower's order; None for an image without any.
    """

    usual: int
    last: int
    encode: Callable[[Any, Mapping[str, Any], Sequence[LeftOut], int | None, list[Tensor]], list[Tensor]]
    repeats: Callable[[Any, Mapping[str, Any]], list[Tensor | None]]

    def block(self, asked: int | None) -> int | None:
        """The block behind which tokens are dropped; None where the operator asked for one that is not there."""
        block = self.usual if asked is None else asked
        return block if block <= self.last else None


Attend: TypeAlias = Callable[[Tensor, Tensor, Tensor, float], Tensor]
"""Causal attention among the tokens of each text: query (T, heads, d), key and value (T, kv heads, d), scale; gives
(T, heads, d)."""

TextLayer: TypeAlias = Callable[[Tensor, Tensor, Tensor | None, Attend], tuple[Tensor, Tensor]]
"""One layer of a language model, on tokens of any texts side by side: positions as the family has them, states (T, D),
the residual (T, D) or None for the first layer, and the attention. Gives states and residual, whose sum is the layer's
output; both inputs may be overwritten."""


@dataclass(frozen=True, slots=True)
class TextLayers:
    """A language model that can be run layer by layer without the engine's KV cache.

    embed: (T,) ids to (T, D). layers: in their order. rows: of positions that they take, 1 or 3.
    """

    embed: Callable[[Tensor], Tensor]
    layers: Sequence[TextLayer]
    rows: int = 1


@dataclass(frozen=True, slots=True)
class Videos:
    """How a family takes videos, where they can be reduced.

    together: a prompt has one run of placeholders for all frames of a video, in place of one for each frame.
    pixels: name of the encoder input that holds the pixels of all videos, one after the other.
    seconds: name of what the processor says of the seconds between two frames of each video, where it does.
    grids: of each video in a batch of encoder inputs. flat_inputs: by their grids, rows that each has of the
        inputs that are flat over videos.
    extent: positions that a video takes in an unreduced prompt, text between its frames apart, by its grid and the
        seconds between two frames.
    tokens: visual tokens of a video, by vLLM's processing info, its width and height in pixels and the frames that are
        shown, without processor kwargs; None where that follows from more than these.
    least: pictures that a video must have.
    """

    together: bool
    pixels: str
    seconds: str
    grids: Callable[[Mapping[str, Any]], list[FrameGrid]]
    flat_inputs: Callable[[Sequence[FrameGrid]], Mapping[str, list[int]]]
    extent: Callable[[FrameGrid, float], int]
    tokens: Callable[[Any, int, int, int], int] | None = None
    least: int = 1


@dataclass(frozen=True, slots=True)
class MediaSpan:
    """One image, video or frame of a video in a prompt: placeholders side by side.

    offset: prompt index of its first placeholder. length: placeholders, i.e. rows kept.
    grid: (frames, height, width) in merged visual tokens. frame_step: positions between two frames.
    kept: rows kept of each frame of a reduced video, `length` in all, at least one of the first; empty where there is
        one frame, or nothing is dropped.
    """

    offset: int
    length: int
    grid: tuple[int, int, int]
    frame_step: float = 1.0
    kept: tuple[int, ...] = ()

    @property
    def reduced(self) -> bool:
        frames, height, width = self.grid
        return self.length < frames * height * width


class Family(Protocol):
    """One line of models."""

    def __init__(self, config: Any) -> None:
        """Args:
        config: the checkpoint's transformers configuration.
        """

    @property
    def reduces(self) -> bool:
        """Whether this checkpoint can be reduced; one that cannot is served as stock, and the answer says so."""

    @property
    def image_token(self) -> int:
        """The id that stands for an image in a prompt, and for each of its visual tokens once that is expanded."""

    @property
    def media_tokens(self) -> Mapping[str, int]:
        """The id that stands for an item in a prompt, by modality."""

    @property
    def cell(self) -> int | None:
        """Pixels along a side of a visual token; None where every picture is brought to one size, of which no smaller
        form can be sent."""

    @property
    def row_width(self) -> int:
        """Columns of a row that the encoder gives."""

    @property
    def word_width(self) -> int:
        """Columns at the front of a row that lie where the embeddings of words do; a selection looks at these. What
        stands behind them is kept or dropped with the row."""

    @property
    def fixed_kwargs(self) -> Mapping[str, int]:
        """Processor kwargs that the weights have decided: with another value the encoder cannot take the pixels."""

    @property
    def still_row(self) -> int:
        """The row of positions that stands still inside an image; 0 in M-RoPE, where it is time's."""

    @property
    def heard(self) -> frozenset[Need]:
        """What can be overheard in the vision tower."""

    @property
    def lead(self) -> tuple[int, ...]:
        """Ids that stand before a question which the language model reads alone: its first token is no word of it."""

    @property
    def cut(self) -> TowerCut | None:
        """How tokens are dropped inside the vision tower; None where they cannot be."""

    @property
    def videos(self) -> Videos | None:
        """How it takes videos; None where it takes none, or serves them whole."""

    # API process

    def turns(self, tokenizer: Any) -> TurnFinder:
        """The turns of this family's chat template."""

    def token_grid(self, info: Any, width: int, height: int, kwargs: Mapping[str, object]) -> Grid:
        """Visual tokens of a picture of that many pixels, after the resizing that the family does.

        Args:
            info: vLLM's processing info of this checkpoint. kwargs: processor kwargs of the request.
        """

    def pieces(self, info: Any, width: int, height: int, kwargs: Mapping[str, object]) -> tuple[Piece, ...]:
        """The grids that the rows of such a picture are, each a view of the whole of it; none where they are one.

        Args:
            info, width, height, kwargs: as for `token_grid`.
        """

    def fixed_pixels(self, info: Any) -> int | None:
        """Most pixels of what every picture is brought to, all its views together; None where each keeps its own.

        Args:
            info: as for `token_grid`.
        """

    def embedded_grid(self, item: Any) -> Grid:
        """Visual tokens of an image that was sent as embeddings, as vLLM's parser holds it.

        Raises:
            Exception: of any class; no picture has such a grid.
        """

    def misfit(self, inputs: Mapping[str, Any]) -> str | None:
        """What is wrong with the shape of pixels, in words for a client; None when the encoder takes them.

        Args:
            inputs: by name, of a batch of images and videos as the processor makes them.
        """

    def most_positions(self, longest: int) -> int:
        """Positions that a prompt may take before reduction, so that no answer leaves the table of positions.

        Args:
            longest: tokens of the longest prompt and answer that the engine takes.
        """

    def extent(self, grid: Grid) -> int:
        """Positions that an image takes in an unreduced prompt."""

    # worker

    def grids(self, inputs: Mapping[str, Any]) -> list[Grid]:
        """Token grid of each image in a batch of encoder inputs."""

    def layouts(self, inputs: Mapping[str, Any]) -> Sequence[Layout | None]:
        """How the rows of each image in a batch of encoder inputs lie; None for one whose rows are its grid."""

    def tokens_of(self, item: Mapping[str, Any], modality: str) -> int | None:
        """Visual tokens of one image or video as vLLM holds it, before reduction; None where it does not say."""

    def rows_of_inputs(self, inputs: Mapping[str, Any]) -> Mapping[str, Sequence[int] | None]:
        """Rows that each image has of a batch's encoder inputs: of those that are flat over images. None for what all
        images share; an input that is not named has one entry for each."""

    def tap_points(self, model: Any) -> TapPoints:
        """Where the vision tower of a model can be listened to."""

    def text_layers(self, model: Any) -> TextLayers | None:
        """The language model's layers; None where they cannot be run apart from the engine."""

    def packing_width(self, grid: Grid) -> int:
        """Columns of the grid by which kept rows find their positions: the picture's own, or 1 on a line."""

    def spans(self, model: Any, features: Sequence[Any]) -> list[MediaSpan]:
        """The images and videos of a prompt by ascending offset, as vLLM holds them."""
