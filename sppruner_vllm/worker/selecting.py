"""Selection in the worker: brings the questions to the images of a batch, and has their rows chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from vllm.distributed import get_tensor_model_parallel_rank

from sppruner_vllm.reduction import ImageTokens, Selection, reduce

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
