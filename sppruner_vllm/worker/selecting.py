"""Selection in the worker: brings the questions to the images of a batch, and has their rows chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from vllm.distributed import get_tensor_model_parallel_rank
from vllm.logger import init_logger

from sppruner_vllm.family import Layout
from sppruner_vllm.reduction import ImageTokens, Selection, get_method, reduce
from sppruner_vllm.reduction.pieces import joined, parted
from sppruner_vllm.settings import settings

from .questions import Questions, WordEmbeddings
from .timing import SelectionTimer

logger = init_logger("vllm.sppruner")


class Selector:
    """Selects for one model."""

    def __init__(self, words: WordEmbeddings, reader: Callable[[], Questions]) -> None:
        """Args:
        words: of the model. reader: gives what reads questions, as the operator has it; `words` where nothing does.
        """
        self._words = words
        self._reader = reader
        reader()  # At the start, for what does not go with this model is refused then.
        self._timer = SelectionTimer() if get_tensor_model_parallel_rank() == 0 else None

    def select(self, images: list[ImageTokens], method: str) -> list[Selection]:
        """What each image keeps, of at least one."""
        if all(image.query is None for image in images):
            return reduce(images, method)
        stands_alone = settings().states_for_all and not get_method(method).hears_states
        read_by = self._reader() if stands_alone else self._words
        return reduce(images, method, text_mean=read_by.mean(images[0].rows.device))

    def reads(self, method: str) -> bool:
        """Whether questions are read for it."""
        return self._reader() is not self._words and (get_method(method).hears_states or settings().states_for_all)

    def timed(self, method: str, device: torch.device) -> AbstractContextManager[None]:
        """Counts what the block does as a selection of served images."""
        return nullcontext() if self._timer is None else self._timer.measure(method, device)

    def asked(
        self, ids: Sequence[Tensor], methods: Sequence[str], names: Sequence[str] | None = None
    ) -> list[dict[str, Tensor | None]]:
        """What each question gives the method that is to hear it, by the names of `ImageTokens`.

        Args:
            ids: (T,) of each question. methods: one for each.
            names: as `Questions.read` takes them; None where nothing is to be kept.
        """
        names = [""] * len(ids) if names is None else names
        asked: list[dict[str, Tensor | None]] = [{"query": words} for words in self._words.read(ids, names)]
        heard = [
            place for place, method in enumerate(methods) if asked[place]["query"] is not None and self.reads(method)
        ]
        if not heard:
            return asked
        reader = self._reader()
        mean = reader.mean(ids[0].device)
        for place, states in zip(
            heard, reader.read([ids[place] for place in heard], [names[place] for place in heard]), strict=True
        ):
            if states is not None and get_method(methods[place]).hears_states:
                asked[place]["states"] = states - mean
            else:
                asked[place]["query"] = states
        return asked

    def rehearsed(self, ids: Tensor, method: str) -> dict[str, Tensor | None]:
        """As `asked`, before anything is served: where reading fails that nobody asked for, words steer from then on.

        All ranks run the same, and fail alike.
        """
        try:
            (asked,) = self.asked([ids], [method])
        except torch.OutOfMemoryError:
            raise  # of this rank perhaps, and not of the others
        except Exception:
            if settings().states_for_all:
                raise
            logger.warning("questions cannot be read by this model's layers; their words steer alone", exc_info=True)
            words = self._words
            self._reader = lambda: words
            (asked,) = self.asked([ids], [method])
        return asked

    def forget(self) -> None:
        """The model's weights are others from now on."""
        self._words.forget()
        self._reader().forget()


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
