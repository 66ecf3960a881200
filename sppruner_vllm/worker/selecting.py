"""Selection in the worker: brings the questions to the images of a batch, and has their rows chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from vllm.distributed import get_tensor_model_parallel_rank

from sppruner_vllm.family import Layout
from sppruner_vllm.reduction import ImageTokens, Selection, reduce
from sppruner_vllm.reduction.pieces import joined, parted

from .questions import Questions
from .timing import SelectionTimer


class Selector:
    """Selects for one model."""

    def __init__(self, questions: Callable[[], Questions]) -> None:
        """Args:
        questions: gives what makes vectors of them, as the operator has it.
        """
        self._questions = questions
        questions()  # At the start, for what does not go with this model is refused then.
        self._timer = SelectionTimer() if get_tensor_model_parallel_rank() == 0 else None

    def select(self, images: list[ImageTokens], method: str) -> list[Selection]:
        """What each image keeps, of at least one."""
        asked = any(image.query is not None for image in images)
        mean = self._questions().mean(images[0].rows.device) if asked else None
        return reduce(images, method, text_mean=mean, params=self._questions().constants(method))

    def timed(self, method: str, device: torch.device) -> AbstractContextManager[None]:
        """Counts what the block does as a selection of served images."""
        return nullcontext() if self._timer is None else self._timer.measure(method, device)

    def embed_queries(self, ids: Sequence[Tensor], names: Sequence[str] | None = None) -> list[Tensor | None]:
        """Vectors of each query, (T, D) or None for an empty one.

        Args:
            ids: (T,) of each. names: as `Questions.read` takes them; None where nothing is to be kept.
        """
        return self._questions().read(ids, [""] * len(ids) if names is None else names)

    def forget(self) -> None:
        """The model's weights are others from now on."""
        self._questions().forget()


def select_in_pieces(
    select: Callable[[list[ImageTokens]], list[Selection]],
    images: list[ImageTokens],
    layouts: Sequence[Layout | None],
) -> list[Selection]:
    """What each image keeps, those of several grids piece by piece, all in one call.

    Args:
        select: gives the selection of each of some images.
        layouts: of each; None for one whose rows are its grid.
    """
    if all(layout is None for layout in layouts):
        return select(images)
    split = [
        None if layout is None else parted(image, layout.pieces) for image, layout in zip(images, layouts, strict=True)
    ]
    parts = [
        part for image, own in zip(images, split, strict=True) for part in ((image,) if own is None else own.images)
    ]
    found = iter(select(parts))
    return [next(found) if own is None else joined(own, [next(found) for _ in own.images]) for own in split]
