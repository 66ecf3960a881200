"""Multimodal-processor mixin: decides, before the encoder runs, how many visual tokens each image keeps.

Runs in the API process. One plan per image, made from the prompt's token ids, sets the size the image is brought to,
its placeholder count and its identity in every vLLM cache, and the order that tells the worker what to select.
docs/develop/architecture.md, "How a request flows".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import astuple, dataclass, replace
from functools import cached_property, lru_cache, partial
from itertools import compress
from typing import Any, ClassVar, Final, cast

import torch
from cachetools import LRUCache
from PIL import Image
from transformers.feature_extraction_utils import BatchFeature
from vllm.exceptions import VLLMValidationError
from vllm.multimodal.hasher import MultiModalHasher
from vllm.multimodal.inputs import MultiModalFieldConfig, MultiModalKwargsItem, MultiModalKwargsItems
from vllm.multimodal.parse import DictEmbeddingItems, EmbeddingItems, ImageProcessorItems, MultiModalDataItems
from vllm.multimodal.processing import BaseMultiModalProcessor, PromptReplacement, PromptUpdate
from vllm.multimodal.processing.inputs import ProcessorInputs

from sppruner_vllm import wire
from sppruner_vllm.admission import admit
from sppruner_vllm.compat import media_placeholders
from sppruner_vllm.errors import InvalidField, RowCountError
from sppruner_vllm.family import Family
from sppruner_vllm.parts import published
from sppruner_vllm.planning.accounting import ENGINE_INPUT_KEY, account
from sppruner_vllm.planning.bounds import Bounds, refuse_beyond_context
from sppruner_vllm.planning.paying import Parts
from sppruner_vllm.planning.plan import ALGORITHM_VERSION, ReductionPlan, unreduced
from sppruner_vllm.planning.planner import Prompt, Sent, plan_images
from sppruner_vllm.planning.query import TurnFinder
from sppruner_vllm.planning.scope import FirstQuestions
from sppruner_vllm.planning.smaller import Grid, resize
from sppruner_vllm.recipes import get_recipe
from sppruner_vllm.request import RATIO_BOUNDS, REQUEST_FIELDS, ReductionRequest
from sppruner_vllm.settings import settings

from .embedded import grid_of as embedded_grid
from .fitting import blaming, refuse_misfit, refuse_other_sizes
from .pixels_cache import PixelsCache, merged
from .question_table import QuestionTable
from .refusing import refusing
from .room import Most, Room, within
from .shrinking import count_shrunk, shrunk
from .typed_markers import TypedMarkers
from .uuids import LastSent

_PLANNED: Final = "sppruner_planned"
_PROFILING: Final = "sppruner_profiling"
_BY_VLLM: Final = object()
"""Marks vLLM's own profiling inputs; no request can spell it."""


@dataclass(frozen=True, slots=True)
class _Planned:
    """Rides through vLLM's processor kwargs to the hooks that need it.

    plans, pictures: of the images being processed; what the encoder will see of each is the same for equal pictures.
    """

    plans: tuple[ReductionPlan, ...]
    pictures: tuple[str, ...]
    hashes: dict[str, list[str]]
    profiling: bool


class ReductionProcessorMixin(BaseMultiModalProcessor[Any]):
    """Put before a model family's own processor in the base-class list."""

    family_of: ClassVar[type[Family]]

    @cached_property
    def family(self) -> Family:
        return self.family_of(self.info.get_hf_config())

    @cached_property
    def turns(self) -> TurnFinder:
        return self.family.turns(self.info.get_tokenizer())

    @cached_property
    def typed_markers(self) -> TypedMarkers:
        """What clients may type of this model's markers, for the renderer (compat.py)."""
        return TypedMarkers(self.info.get_tokenizer(), self.family.media_tokens.values(), media_placeholders())

    @cached_property
    def _known(self) -> LRUCache[str, tuple[Grid, bool]]:
        """Grid of each image by hash, and whether it is a picture, for those that later come by UUID alone."""
        return LRUCache(maxsize=8192)

    @cached_property
    def _last_sent(self) -> LastSent:
        return LastSent(self.info.ctx.get_mm_config().mm_hasher_algorithm)

    @cached_property
    def _questions(self) -> QuestionTable:
        return QuestionTable()

    @cached_property
    def _pixels(self) -> PixelsCache:
        # Pixels that are sent in shared memory would hold it for as long as they are kept.
        shared = self.info.ctx.get_mm_config().mm_tensor_ipc == "torch_shm"
        return PixelsCache(0 if shared else settings().pixels_cache_mib * 2**20)

    def forget_pixels(self) -> None:
        """Drop all pixels that are kept: vLLM drops its own, so that a UUID may stand for another picture."""
        self._pixels.clear()

    @cached_property
    def _parts(self) -> Parts | None:
        """Looked for at the first request, when the workers have long been warm."""
        return published(self.info.ctx.model_config.model) if settings().throughput_guard else None

    # Planning

    def rendering(self, given: Mapping[str, Any]) -> AbstractContextManager[None]:
        """Holds pictures that are read while a prompt is rendered against the room in it (compat.py).

        Args:
            given: processor kwargs of the request.
        """
        if settings().shrink_large_images or given.keys() - {*REQUEST_FIELDS, RATIO_BOUNDS}:
            return within(None)
        always = min(self._context, self._bounds.prompt, self._bounds.picture)
        return within(
            Room(lambda width, height: math.prod(self._usual_grid(width, height)), always, partial(self._most, given))
        )

    def _most(self, given: Mapping[str, Any]) -> Most | None:
        """What the pictures of a request may come to."""
        try:
            request = admit(given).request
        except InvalidField:
            return None  # `apply` says what is wrong
        reduced = self.family.reduces and not request.keeps_all
        if reduced and get_recipe(request.method).shrinks_to is not None:
            return None
        prompt = max(self._context, self._bounds.prompt) if reduced else self._context
        picture = self._bounds.picture if reduced and request.insists else None
        return Most(prompt, picture, reduced)

    def apply(self, inputs: ProcessorInputs, timing_ctx: Any) -> Any:
        given = inputs.hf_processor_mm_kwargs
        kwargs = {name: value for name, value in given.items() if name not in REQUEST_FIELDS}
        kwargs.pop(RATIO_BOUNDS, None)
        profiling = kwargs.pop(_PROFILING, None) is _BY_VLLM
        inputs = replace(inputs, hf_processor_mm_kwargs=kwargs)
        with refusing():
            request = admit(given).request
            refuse_other_sizes(self.family, kwargs)
        if not profiling:
            self._refuse_spare_places(inputs)
            if settings().shrink_large_images:
                inputs = self._within_room(inputs, request)
        hashes = self._last_sent.hashes(inputs, super()._get_mm_hashes)
        known = FirstQuestions(lambda: self._questions)
        sent = [self._sent(inputs, index, key) for index, key in enumerate(hashes.get("image", ()))]
        plans = self._plan(inputs, request, sent, profiling, known)
        pictures = ("",) * len(plans) if profiling else tuple(self._pictures(inputs, sent, plans))
        if plans:
            hashes = {**hashes, "image": self._identities(hashes["image"], plans)}
            _refuse_unknown_uuids(inputs, hashes["image"])
        planned = _Planned(plans, pictures, hashes, profiling)
        with refusing(), blaming(kwargs):
            output: Any = super().apply(
                replace(inputs, hf_processor_mm_kwargs={**kwargs, _PLANNED: planned}), timing_ctx
            )
        known.keep()
        lengths = {
            modality: [place.length for place in places] for modality, places in output["mm_placeholders"].items()
        }
        if "video" in lengths and any(plan.reduces for plan in plans):
            # How long a video is only vLLM's own processing says.
            dropped = sum(plan.encoded - plan.retained for plan in plans)
            with refusing():
                self._bounds.refuse(len(output["prompt_token_ids"]) + dropped)
        placed = lengths.get("image", ()), lengths.get("video", ())
        output[ENGINE_INPUT_KEY] = account(plans, request, *placed, count_shrunk(inputs.mm_data_items))
        return output

    def _refuse_spare_places(self, inputs: ProcessorInputs) -> None:
        """Of more places than items nobody can say which are meant: vLLM would take the first ones.

        A chat template makes as many as there are items; a prompt that a client wrote may hold others.
        """
        for modality, token in self.family.media_tokens.items():
            items = inputs.mm_data_items.get(modality)
            if items is not None and (places := inputs.prompt.count(token)) > len(items):
                raise VLLMValidationError(
                    f"the prompt has {places} places for {modality} items, but there are {len(items)}",
                    parameter="prompt",
                )

    def get_dummy_inputs(self, *args: Any, **kwargs: Any) -> ProcessorInputs:
        """Profiling always counts unreduced images, whatever the server's default ratio."""
        inputs: ProcessorInputs = super().get_dummy_inputs(*args, **kwargs)
        return replace(inputs, hf_processor_mm_kwargs={**inputs.hf_processor_mm_kwargs, _PROFILING: _BY_VLLM})

    def _plan(
        self,
        inputs: ProcessorInputs,
        request: ReductionRequest,
        sent: Sequence[Sent],
        profiling: bool,
        known: FirstQuestions,
    ) -> tuple[ReductionPlan, ...]:
        if not sent:
            return ()
        if profiling:
            return tuple(unreduced(image.tokens, request, "keep_ratio_is_1") for image in sent)
        if not self.family.reduces and not request.keeps_all:
            return tuple(unreduced(image.tokens, request, "unsupported_input") for image in sent)
        prompt = Prompt(inputs.prompt, self.family.image_token, lambda: self.turns, self._encode)
        cut = self.family.cut
        block = None if cut is None else cut.block(settings().encoder_cut_block)
        plans = plan_images(sent, prompt, request, settings(), known, self._parts, block, cut is not None)
        if any(plan.reduces for plan in plans):
            self._refuse_beyond_bounds(inputs, plans, sent)
        else:
            # vLLM would find out once all pictures are processed.
            tokens = len(inputs.prompt) - len(plans) + sum(image.tokens for image in sent)
            with refusing():
                refuse_beyond_context(tokens, self._context)
        return plans

    def _sent(self, inputs: ProcessorInputs, index: int, key: str) -> Sent:
        """An image before any reduction; one sent by UUID alone is known from an earlier request."""
        items = inputs.mm_data_items["image"]
        item = items.get(index)
        if _embedded(inputs):
            with refusing():
                return Sent(embedded_grid(item, self.family), regrid=None, key=key)
        kwargs = inputs.hf_processor_mm_kwargs
        if item is not None:
            size = cast("ImageProcessorItems", items).get_image_size(index)
            grid = self._grid(size.width, size.height, kwargs)
            self._known[key] = grid, isinstance(item, Image.Image)
        elif key not in self._known:
            raise VLLMValidationError(f"image {index} was sent by uuid only and is not cached", parameter="uuid")
        grid, is_picture = self._known[key]
        cell = self.family.cell
        return Sent(grid, partial(self._regrid, kwargs, cell) if is_picture and cell is not None else None, key)

    def _grid(self, width: int, height: int, kwargs: Mapping[str, object]) -> Grid:
        """Visual tokens of a picture; asking upstream takes longer than all else that is planned of one left whole."""
        return self.family.token_grid(self.info, width, height, kwargs) if kwargs else self._usual_grid(width, height)

    @cached_property
    def _usual_grid(self) -> Callable[[int, int], Grid]:
        return lru_cache(maxsize=4096)(lambda width, height: self.family.token_grid(self.info, width, height, {}))

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
            self._bounds.refuse(text + sum(encoded), [] if _embedded(inputs) else encoded, positions)

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
        return replace(inputs, mm_data_items=shrunk(items, most, cell, partial(self._grid, kwargs=kwargs)))

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
            positions=self.family.most_positions(model.max_model_len),
        )

    def _identities(self, hashes: Sequence[str], plans: Sequence[ReductionPlan]) -> list[str]:
        """The key of each image in vLLM's three caches; upstream's own when nothing is reduced."""
        algorithm = self.info.ctx.get_mm_config().mm_hasher_algorithm
        return [
            MultiModalHasher.hash_kwargs(
                algorithm,
                image=key,
                retained=plan.retained,
                resized=torch.tensor(plan.resized or (), dtype=torch.int64),
                method=plan.method,
                stages=[[str(value) for value in astuple(stage)] for stage in plan.stages],
                version=ALGORITHM_VERSION,
                attention=settings().saliency_attention,
                query=torch.tensor(plan.query_ids, dtype=torch.int64),
            )
            if plan.reduces
            else key
            for key, plan in zip(hashes, plans, strict=True)
        ]

    def _pictures(self, inputs: ProcessorInputs, sent: Sequence[Sent], plans: Sequence[ReductionPlan]) -> Iterator[str]:
        """What the encoder is to see of each image, whatever is asked of it; empty where nothing is kept by it."""
        nameless = _embedded(inputs) or not (settings().rows_cache_mib or settings().pixels_cache_mib)
        algorithm = self.info.ctx.get_mm_config().mm_hasher_algorithm
        for image, plan in zip(sent, plans, strict=True):
            if nameless:
                yield ""
                continue
            grid = repr((*image.grid, *(plan.resized or ())))
            yield MultiModalHasher.hash_kwargs(algorithm, image=image.key, grid=grid)

    # vLLM's hooks, in the order they are called

    def _get_mm_hashes(self, inputs: ProcessorInputs) -> dict[str, list[str]]:
        return _planned(inputs.hf_processor_mm_kwargs).hashes

    def _get_cache_missing_processor_kwargs(
        self, inputs: ProcessorInputs, mm_is_cached: Mapping[str, Sequence[bool]]
    ) -> Mapping[str, object]:
        planned = _planned(inputs.hf_processor_mm_kwargs)
        missing = [not hit for hit in mm_is_cached.get("image", ())]
        plans, pictures = tuple(compress(planned.plans, missing)), tuple(compress(planned.pictures, missing))
        return {**inputs.hf_processor_mm_kwargs, _PLANNED: replace(planned, plans=plans, pictures=pictures)}

    def _apply_hf_processor_main(self, mm_items: MultiModalDataItems, hf_kwargs: Mapping[str, object]) -> BatchFeature:
        planned, kwargs = _planned(hf_kwargs), _clean(hf_kwargs)
        if not (planned.plans and self.family.reduces):
            return super()._apply_hf_processor_main(mm_items=mm_items, hf_kwargs=kwargs)
        known = self._pixels.find(planned.pictures)
        output, fresh = self._processed(mm_items, planned, kwargs, known)
        if known:
            output.update(
                merged([known[place] if place in known else next(fresh) for place in range(len(planned.plans))])
            )
        output.update(wire.encode(_orders(planned)))
        return output

    def _processed(
        self,
        mm_items: MultiModalDataItems,
        planned: _Planned,
        kwargs: Mapping[str, object],
        known: Container[int],
    ) -> tuple[BatchFeature, Iterator[MultiModalKwargsItem]]:
        """What vLLM's processor makes of all but the known images, as it gives it and image by image."""
        unknown = [place for place in range(len(planned.plans)) if place not in known]
        items = _unknown(mm_items, planned.plans, unknown, self.family.cell)
        if not items:
            return BatchFeature(), iter(())
        output = super()._apply_hf_processor_main(mm_items=items, hf_kwargs=kwargs)
        if kwargs:
            refuse_misfit(self.family, output)
        if not self._pixels.bound:
            return output, iter(())
        fields = super()._get_mm_fields_config(output, kwargs)
        fresh = MultiModalKwargsItems.from_hf_inputs(output, fields).get("image", [])
        self._pixels.keep([planned.pictures[place] for place in unknown], fresh)
        return output, iter(fresh)

    def _get_mm_fields_config(
        self, hf_inputs: BatchFeature, hf_processor_mm_kwargs: Mapping[str, object]
    ) -> Mapping[str, MultiModalFieldConfig]:
        return {
            **super()._get_mm_fields_config(hf_inputs, _clean(hf_processor_mm_kwargs)),
            **{
                name: MultiModalFieldConfig.batched("image", keep_on_cpu=on_host)
                for name, on_host in wire.HOST_FIELDS.items()
            },
        }

    def _get_prompt_updates(
        self,
        mm_items: MultiModalDataItems,
        hf_processor_mm_kwargs: Mapping[str, Any],
        out_mm_kwargs: MultiModalKwargsItems,
    ) -> Sequence[PromptUpdate]:
        updates: Sequence[PromptUpdate] = super()._get_prompt_updates(
            mm_items=mm_items, hf_processor_mm_kwargs=_clean(hf_processor_mm_kwargs), out_mm_kwargs=out_mm_kwargs
        )
        if not self.family.reduces:
            return updates
        plans = _planned(hf_processor_mm_kwargs).plans
        return [_shortened(update, plans) if update.modality == "image" else update for update in updates]


def _planned(kwargs: Mapping[str, Any]) -> _Planned:
    return cast("_Planned", kwargs[_PLANNED])


def _clean(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Kwargs as upstream knows them: it keys a cache of loaded processors by them."""
    return {key: value for key, value in kwargs.items() if key != _PLANNED}


def _orders(planned: _Planned) -> list[wire.Order]:
    return [
        wire.Order(
            plan.encoded,
            plan.retained,
            plan.stages,
            torch.tensor(plan.query_ids, dtype=torch.int64),
            planned.profiling,
            picture,
        )
        for plan, picture in zip(planned.plans, planned.pictures, strict=True)
    ]


def _unknown(
    items: MultiModalDataItems, plans: Sequence[ReductionPlan], places: Sequence[int], cell: int | None
) -> MultiModalDataItems:
    """The items with only those images, at the sizes of their plans; so late that a cached image costs nothing."""
    images = items["image"]
    if len(places) == len(images) and all(plan.resized is None for plan in plans):
        return items
    others = {modality: values for modality, values in items.items() if modality != "image"}
    if not places:
        return MultiModalDataItems(others)
    pictures = [_at_size(images.get(place), plans[place].resized, cell) for place in places]
    return MultiModalDataItems({**others, "image": ImageProcessorItems(pictures)})


def _at_size(image: Any, grid: Grid | None, cell: int | None) -> Any:
    return image if grid is None or cell is None else resize(image, grid, cell)


def _embedded(inputs: ProcessorInputs) -> bool:
    """Whether the request's images came encoded."""
    return isinstance(inputs.mm_data_items.get("image"), DictEmbeddingItems | EmbeddingItems)


def _refuse_unknown_uuids(inputs: ProcessorInputs, identities: Sequence[str]) -> None:
    """An image sent by UUID alone must be cached under the very plan of this request."""
    if _embedded(inputs):
        return
    items = inputs.mm_data_items["image"]
    for index, identity in enumerate(identities):
        known = inputs.cache is not None and inputs.cache.is_cached_item(identity)
        if not known and items.get(index) is None:
            raise VLLMValidationError(
                f"image {index} was sent by uuid only and is not cached for this keep ratio, method and question",
                parameter="uuid",
            )


def _shortened(update: PromptUpdate, plans: Sequence[ReductionPlan]) -> PromptUpdate:
    full = cast("PromptReplacement", update).replacement

    def replacement(index: int) -> Any:
        content: Any = full(index) if callable(full) else full
        plan = plans[index]
        if len(content) != plan.encoded:
            raise RowCountError(f"image has {len(content)} placeholders, but was planned with {plan.encoded}")
        return content[: plan.retained]

    return replace(update, replacement=replacement)
