"""Plans the images of a request, before any of them is processed: how many tokens each has and how many it keeps.

The plan itself is made in `sppruner_vllm.planning`. Here it gets what only vLLM's processor knows: sizes of images,
limits of the model, the tokenizer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from typing import Any, ClassVar, Final, cast

from cachetools import LRUCache
from PIL import Image
from vllm.exceptions import VLLMValidationError
from vllm.multimodal.parse import ImageProcessorItems
from vllm.multimodal.processing import BaseMultiModalProcessor
from vllm.multimodal.processing.inputs import ProcessorInputs

from sppruner_vllm.admission import admit
from sppruner_vllm.errors import InvalidField
from sppruner_vllm.family import Family
from sppruner_vllm.parts import published
from sppruner_vllm.pictures.budget import PixelBudget
from sppruner_vllm.pictures.texture import texture
from sppruner_vllm.planning.bounds import Bounds, refuse_beyond_context
from sppruner_vllm.planning.in_parts import PICTURE_FIELDS, PicturePart, picture_parts
from sppruner_vllm.planning.paying import Parts
from sppruner_vllm.planning.plan import ReductionPlan, unreduced
from sppruner_vllm.planning.planner import Prompt, Sent, all_whole, plan_images
from sppruner_vllm.planning.query import TurnFinder
from sppruner_vllm.planning.scope import FirstQuestions
from sppruner_vllm.planning.smaller import Grid
from sppruner_vllm.recipes import get_recipe
from sppruner_vllm.reduction.pieces import Piece
from sppruner_vllm.request.asked import ReductionRequest
from sppruner_vllm.request.fields import MAX_PIXELS, REQUEST_FIELDS
from sppruner_vllm.request.handed_over import HANDED_OVER
from sppruner_vllm.settings import settings

from .embedded import came_encoded
from .embedded import grid_of as embedded_grid
from .picture_io import is_shrunk, limit_of
from .pixel_limits import refuse_fixed, same_size
from .question_table import QuestionTable
from .refusing import refusing
from .room import Most, Room, within
from .shrinking import shrunk

REMEMBERED: Final = 8192
"""Images and videos whose sizes, details and changes are kept in mind, of each kind."""


@dataclass(frozen=True, slots=True)
class _Known:
    """An image that was sent before.

    grid, pieces: as in `Sent`. is_picture: whether it has pixels that can be resized.
    kept_to: limit of pixels that it was made smaller to keep; None where it was not.
    """

    grid: Grid
    pieces: tuple[Piece, ...]
    is_picture: bool
    kept_to: int | None


class PlanningMixin(BaseMultiModalProcessor[Any]):
    """The part of ReductionProcessorMixin (processor.py) that decides."""

    family_of: ClassVar[type[Family]]
    _encoder_room: int | None = None

    def know_encoder_room(self, rows: int) -> None:
        """How many rows of the encoder one item of a prompt may have: vLLM holds unreduced ones to it (compat/)."""
        self._encoder_room = rows
        self.__dict__.pop("_bounds", None)

    @cached_property
    def family(self) -> Family:
        return self.family_of(self.info.get_hf_config())

    @cached_property
    def turns(self) -> TurnFinder:
        return self.family.turns(self.info.get_tokenizer())

    @cached_property
    def _known(self) -> LRUCache[str, _Known]:
        """By hash, for images that later come by UUID alone."""
        return LRUCache(maxsize=REMEMBERED)

    @cached_property
    def _textures(self) -> LRUCache[str, float]:
        """Of each image by hash, for those that come again in every turn of a chat."""
        return LRUCache(maxsize=REMEMBERED)

    @cached_property
    def _questions(self) -> QuestionTable:
        return QuestionTable()

    @cached_property
    def _parts(self) -> Parts | None:
        """Looked for at the first request, when the workers have long been warm."""
        return published(self.info.ctx.model_config.model) if settings().throughput_guard else None

    def rendering(self, given: Mapping[str, Any], messages: object = ()) -> AbstractContextManager[None]:
        """Holds pictures that are read while a prompt is rendered against the room in it, and against what may be
        decoded for it (compat/rendering.py).

        Args:
            given: processor kwargs of the request. messages: of the conversation.

        Raises:
            RefusedRequest: a list has not one entry for each picture, or a picture's part has a field of ours, which
                the server takes out before.
        """
        with refusing():
            self._judge_parts(given, list(picture_parts(messages)))
        budget = PixelBudget.of(settings())
        smaller = settings().shrink_large_images or settings().max_pixels or given.get(MAX_PIXELS) is not None
        if smaller or given.keys() - {*REQUEST_FIELDS, *HANDED_OVER}:
            return within(None, budget)
        always = min(self._context, self._bounds.prompt, self._bounds.picture, self._bounds.video)
        of_video = None if self.family.videos is None else self.family.videos.tokens
        room = Room(
            lambda width, height: math.prod(self._usual_grid(width, height)),
            always,
            partial(self._most, given),
            None if of_video is None else partial(of_video, self.info),
        )
        return within(room, budget)

    def _judge_parts(self, given: Mapping[str, Any], parts: Sequence[PicturePart]) -> None:
        for number, part in enumerate(parts):
            for field in PICTURE_FIELDS:
                if part.asks(field) is not None:
                    raise InvalidField(
                        field,
                        f"{field} in the part of a picture, here of image {number}, is for the server alone; "
                        f"give mm_processor_kwargs a list of {field}, one for each image",
                        code="unsupported_parameter",
                    )
        if any(isinstance(given.get(field), list | tuple) for field in PICTURE_FIELDS):
            admit(given).request.refuse_other_count(len(parts))

    def _most(self, given: Mapping[str, Any]) -> Most | None:
        """What the pictures and videos of a request may come to."""
        try:
            request = admit(given).request
        except InvalidField:
            return None  # `apply` says what is wrong
        reduced = self.family.reduces and not request.keeps_all
        if reduced and get_recipe(request.method).shrinks_to is not None:
            return None
        prompt = max(self._context, self._bounds.prompt) if reduced else self._context
        picture = self._bounds.picture if reduced and request.insists else None
        video = self._bounds.video if reduced and request.insists_on_videos else None
        return Most(prompt, picture, video, reduced)

    def _plan(
        self,
        inputs: ProcessorInputs,
        request: ReductionRequest,
        sent: Sequence[Sent],
        profiling: bool,
        known: FirstQuestions,
        shares: Sequence[int] | None,
    ) -> tuple[ReductionPlan, ...]:
        """The plan of each image. Args: shares: what each gets of a budget that videos share; None without one."""
        if not sent:
            return ()
        if profiling:
            return tuple(unreduced(image.tokens, request, "keep_ratio_is_1") for image in sent)
        if not request.keeps_all and not (self.family.reduces and self._all_places_filled(inputs)):
            with refusing():
                return all_whole(sent, request, "unsupported_input")
        prompt = self._prompt(inputs)
        cut = self.family.cut
        block = None if cut is None else cut.block(settings().encoder_cut_block)
        with refusing():
            plans = plan_images(sent, prompt, request, settings(), known, self._parts, block, cut is not None, shares)
        if any(plan.reduces for plan in plans):
            self._refuse_beyond_bounds(inputs, plans, sent)
        else:
            # vLLM would find out once all pictures are processed.
            tokens = len(inputs.prompt) - len(plans) + sum(image.tokens for image in sent)
            with refusing():
                refuse_beyond_context(tokens, self._context)
        return plans

    def _prompt(self, inputs: ProcessorInputs) -> Prompt:
        return Prompt(inputs.prompt, self.family.image_token, lambda: self.turns, self._encode)

    def _all_places_filled(self, inputs: ProcessorInputs) -> bool:
        """Whether no id in the prompt looks like a place of a modality of which there is no item.

        A chat template makes none. Rows of a video are told from text by their id (worker/original_positions.py).
        """
        empty = (
            token for modality, token in self.family.media_tokens.items() if not inputs.mm_data_items.get(modality)
        )
        return not any(token in inputs.prompt for token in empty)

    def _sent(self, inputs: ProcessorInputs, index: int, key: str, pixels: int | None) -> Sent:
        """An image before any reduction; one sent by UUID alone is known from an earlier request.

        Args: pixels: most that the image may be encoded with, which it is by now; None for any number.
        """
        items = inputs.mm_data_items["image"]
        item = items.get(index)
        if came_encoded(inputs):
            with refusing():
                return Sent(embedded_grid(item, self.family), regrid=None, key=key)
        kwargs = inputs.hf_processor_mm_kwargs
        if item is not None:
            size = cast("ImageProcessorItems", items).get_image_size(index)
            grid = self._grid(size.width, size.height, kwargs)
            pieces = self._pieces(size.width, size.height, kwargs)
            self._known[key] = _Known(grid, pieces, isinstance(item, Image.Image), limit_of(item))
        elif key not in self._known:
            raise VLLMValidationError(f"image {index} was sent by uuid only and is not cached", parameter="uuid")
        known = self._known[key]
        cell = self.family.cell
        if item is None and not same_size(known.grid, known.kept_to, pixels, cell):
            raise VLLMValidationError(
                f"image {index} was sent by uuid only and is not cached for this max_pixels", parameter="uuid"
            )
        regrid = partial(self._regrid, kwargs, cell) if known.is_picture and cell is not None else None
        shrunk = known.kept_to is not None if item is None else is_shrunk(item)
        return Sent(known.grid, regrid, key, partial(self._texture, key, item), shrunk, known.pieces)

    def _within_pixels(
        self, inputs: ProcessorInputs, request: ReductionRequest, pixels: Sequence[int | None]
    ) -> ProcessorInputs:
        """The request with every picture within its limit of pixels.

        Raises:
            InvalidField: the request wants what cannot be made smaller to be so.
        """
        if all(limit is None for limit in pixels):
            return inputs
        refuse_fixed(self.family.fixed_pixels(self.info), request, inputs.mm_data_items["image"], len(pixels))
        cell = self.family.cell
        if cell is None or came_encoded(inputs):
            return inputs
        most = [None if limit is None else max(1, limit // cell**2) for limit in pixels]
        grid_of = partial(self._grid, kwargs=inputs.hf_processor_mm_kwargs)
        return replace(inputs, mm_data_items=shrunk(inputs.mm_data_items, most, cell, grid_of, pixels))

    def _texture(self, key: str, item: Any) -> float:
        """Detail of a picture's pixels; one without pixels of its own here counts as full of it."""
        if (known := self._textures.get(key)) is not None:
            return known
        if not isinstance(item, Image.Image):
            return 1.0
        self._textures[key] = found = texture(item)
        return found

    def _grid(self, width: int, height: int, kwargs: Mapping[str, object]) -> Grid:
        """Visual tokens of a picture; asking upstream takes longer than all else that is planned of one left whole."""
        return self.family.token_grid(self.info, width, height, kwargs) if kwargs else self._usual_grid(width, height)

    @cached_property
    def _usual_grid(self) -> Callable[[int, int], Grid]:
        return lru_cache(maxsize=4096)(lambda width, height: self.family.token_grid(self.info, width, height, {}))

    def _pieces(self, width: int, height: int, kwargs: Mapping[str, object]) -> tuple[Piece, ...]:
        """The grids that the rows of a picture are, where they are several."""
        if not self.family.reduces:
            return ()
        return self.family.pieces(self.info, width, height, kwargs) if kwargs else self._usual_pieces(width, height)

    @cached_property
    def _usual_pieces(self) -> Callable[[int, int], tuple[Piece, ...]]:
        return lru_cache(maxsize=4096)(lambda width, height: self.family.pieces(self.info, width, height, {}))

    def _regrid(self, kwargs: Mapping[str, object], cell: int, grid: Grid) -> Grid:
        return self._grid(grid[1] * cell, grid[0] * cell, kwargs)

    def _encode(self, text: str) -> Sequence[int]:
        ids: Sequence[int] = self.info.get_tokenizer().encode(text, add_special_tokens=False)
        return ids

    def _refuse_beyond_bounds(
        self, inputs: ProcessorInputs, plans: Sequence[ReductionPlan], sent: Sequence[Sent]
    ) -> None:
        """Refuse what the encoder would have to do, or the positions that kept tokens would take, at too much."""
        grids = [image.grid if plan.resized is None else plan.resized for plan, image in zip(plans, sent, strict=True)]
        text, encoded = len(inputs.prompt) - len(plans), [plan.encoded for plan in plans]
        positions = text + sum(self.family.extent(grid) for grid in grids)
        with refusing():
            self._bounds.refuse(text + sum(encoded), [] if came_encoded(inputs) else encoded, positions)

    def _within_room(self, inputs: ProcessorInputs, request: ReductionRequest) -> ProcessorInputs:
        """The request with every picture small enough for the prompt to hold it beside the others."""
        items, cell = inputs.mm_data_items, self.family.cell
        if not isinstance(items.get("image"), ImageProcessorItems) or cell is None:
            return inputs
        count = len(items["image"])
        room = (self._context if request.keeps_all else self._bounds.prompt) - (len(inputs.prompt) - count)
        most = min(self._bounds.picture, room // count)
        if most < 1:
            return inputs
        kwargs = inputs.hf_processor_mm_kwargs
        return replace(inputs, mm_data_items=shrunk(items, [most] * count, cell, partial(self._grid, kwargs=kwargs)))

    @property
    def _context(self) -> int:
        model = self.info.ctx.model_config
        # vLLM wants room for one token of the answer.
        return int(model.max_model_len - (model.runner_type == "generate"))

    @cached_property
    def _bounds(self) -> Bounds:
        model, limits = self.info.ctx.model_config, settings()
        return Bounds(
            picture=limits.max_unreduced_image_tokens or self.info.get_max_image_tokens(),
            prompt=limits.max_unreduced_tokens or self._context,
            video=self._context if self._encoder_room is None else self._encoder_room,
            positions=self.family.most_positions(model.max_model_len),
        )
