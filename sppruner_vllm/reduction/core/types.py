"""What goes into a selection and what comes out of it.

Plain frozen records of tensors, so that any host (vLLM, a notebook, a test) can call the reduction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # Methods are listed by processes that have no use for torch.
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class ImageTokens:
    """The visual tokens of one image, its question and its budget.

    rows: (N, D), any floating dtype, raster order, N == grid[0] * grid[1].
    grid: (height, width) in tokens, after the encoder's spatial merge.
    query: (T, D) text embeddings of the question on the same device, or None (T == 0 means the same).
    budget: K, how many tokens to keep, 1 <= K <= N.
    attention: (N,), any floating dtype, not negative, on the same device: the attention that each token receives in one
        full-attention block of the vision encoder, summed over its merge unit. None where the host captures none. Only
        its proportions count; entries that are negative or not finite count as zero.
    merger_input: (N, M, F), any floating dtype, raster order, on the same device: what the encoder's merger makes the
        rows of, M patches of a width of their own for each row. None where the host brings none. Where it is given,
        the methods of this package compare tokens with each other by it, and with the question by the rows.
    states: (S, D), any floating dtype, on the same device: the question as the language model itself reads it, less
        what all text has in common. None where the host brings none. A method that hears it does so beside the query.
    repeats: (N,) float32 in [0, 1], on the same device: how far each token shows what the same place of the frame
        before showed, where the image is a frame of a video (reduction/frames.py). None where it is not.
    """

    rows: Tensor
    grid: tuple[int, int]
    query: Tensor | None
    budget: int
    attention: Tensor | None = None
    merger_input: Tensor | None = None
    repeats: Tensor | None = None
    states: Tensor | None = None

    @property
    def asked(self) -> bool:
        """Whether there is a question, in whatever form."""
        return self.words > 0 or (self.states is not None and len(self.states) > 0)

    @property
    def words(self) -> int:
        """T, the number of query tokens; 0 without a query."""
        return 0 if self.query is None else self.query.shape[0]


@dataclass(frozen=True, slots=True)
class Selection:
    """The visual tokens kept for one image.

    kept: (K,) int64, indices into the N rows, raster order, strictly increasing.
    is_focus: (K,) bool, True for a focus token, False for context.
    saliency: (N,) float32 in [0, 1]; zeros where the method computes none.
    relevance: (N,) float32 in [0, 1]; None when there was no query or the method does not look at one. A query that the
        reliability gate rejects shows as all zeros: the gate is decided on the device, so the host never waits for it.
    scores: (N,) float32, the final priority; the K highest are kept, the lower index first among equals.
    """

    kept: Tensor
    is_focus: Tensor
    saliency: Tensor
    relevance: Tensor | None
    scores: Tensor


def check_images(images: Sequence[ImageTokens], text_mean: Tensor | None) -> None:
    """Refuse inputs that no method can work on.

    Raises:
        ValueError: rows that are no floating matrix or do not match their grid, a budget out of range, a query,
            states or text mean of another width, attention, merger input or repeats of another length, or images that
            differ in width or device.
    """
    for number, image in enumerate(images):
        problem = _problem(image, images[0])
        if problem:
            raise ValueError(f"image {number}: {problem}")
    if images and text_mean is not None and text_mean.shape != images[0].rows.shape[1:]:
        raise ValueError(f"text_mean must have shape ({images[0].rows.shape[1]},), got {tuple(text_mean.shape)}")


def _problem(image: ImageTokens, first: ImageTokens) -> str | None:
    rows, query = image.rows, image.query
    height, width = image.grid
    if rows.ndim != 2 or not rows.is_floating_point():
        return f"rows must be a floating (N, D) matrix, got {rows.dtype} of shape {tuple(rows.shape)}"
    if height < 1 or width < 1 or height * width != rows.shape[0]:
        return f"a grid of {height} x {width} does not match {rows.shape[0]} rows"
    if not 1 <= image.budget <= rows.shape[0]:
        return f"budget must be in [1, {rows.shape[0]}], got {image.budget}"
    if rows.ndim != first.rows.ndim or rows.shape[1] != first.rows.shape[1] or rows.device != first.rows.device:
        return "all images of one call must share their width D and their device"
    return (
        _query_problem("query", query, rows)
        or _query_problem("states", image.states, rows)
        or _attention_problem(image.attention, rows)
        or _merger_input_problem(image.merger_input, rows)
        or _repeats_problem(image.repeats, rows)
    )


def _query_problem(name: str, query: Tensor | None, rows: Tensor) -> str | None:
    if query is None:
        return None
    if query.ndim != 2 or query.shape[1] != rows.shape[1] or not query.is_floating_point():
        return f"{name} must be a floating (T, {rows.shape[1]}) matrix, got {query.dtype} of shape {tuple(query.shape)}"
    if query.device != rows.device:
        return f"{name} is on {query.device}, rows are on {rows.device}"
    return None


def _attention_problem(attention: Tensor | None, rows: Tensor) -> str | None:
    if attention is None:
        return None
    if attention.shape != rows.shape[:1] or not attention.is_floating_point():
        return (
            f"attention must be floating, of shape ({rows.shape[0]},), "
            f"got {attention.dtype} of shape {tuple(attention.shape)}"
        )
    if attention.device != rows.device:
        return f"attention is on {attention.device}, rows are on {rows.device}"
    return None


def _merger_input_problem(given: Tensor | None, rows: Tensor) -> str | None:
    if given is None:
        return None
    if given.ndim != 3 or given.shape[0] != rows.shape[0] or not given.is_floating_point():
        return (
            f"merger_input must be floating, of shape ({rows.shape[0]}, M, F), "
            f"got {given.dtype} of shape {tuple(given.shape)}"
        )
    if given.device != rows.device:
        return f"merger_input is on {given.device}, rows are on {rows.device}"
    return None


def _repeats_problem(repeats: Tensor | None, rows: Tensor) -> str | None:
    if repeats is None:
        return None
    if repeats.shape != rows.shape[:1] or not repeats.is_floating_point():
        return f"repeats must be floating, {len(rows)} of them, got {repeats.dtype} of shape {tuple(repeats.shape)}"
    if repeats.device != rows.device:
        return f"repeats are on {repeats.device}, rows are on {rows.device}"
    return None
