"""Multimodal-processor mixin: decides, before the encoder runs, how many visual tokens each image keeps.

Runs in the API process. One plan per image, made from the prompt's token ids, sets the size the image is brought to,
its placeholder count and its identity in every vLLM cache, and the fields that tell the worker what to select.
docs/architecture.md, "How a request flows".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, cast

import torch
from cachetools import LRUCache
from PIL import Image
from transformers.feature_extraction_utils import BatchFeature
from vllm.exceptions import VLLMValidationError
from vllm.multimodal.hasher import MultiModalHasher
from vllm.multimodal.inputs import MultiModalFieldConfig, MultiModalKwargsItems
from vllm.multimodal.parse import DictEmbeddingItems, ImageProcessorItems, MultiModalDataItems
from vllm.multimodal.processing import BaseMultiModalProcessor, PromptReplacement, PromptUpdate
from vllm.multimodal.processing.inputs import ProcessorInputs

from sppruner_vllm.admission import admit
from sppruner_vllm.errors import InvalidField, RowCountError
from sppruner_vllm.planning.accounting import ENGINE_INPUT_KEY, account
from sppruner_vllm.planning.plan import ALGORITHM_VERSION, ReductionPlan, plan_image, unreduced
from sppruner_vllm.planning.query import TurnMarkers, turn_queries
from sppruner_vllm.planning.smaller import Grid, resize, smaller_grid
from sppruner_vllm.recipes import get_recipe
from sppruner_vllm.request import REQUEST_FIELDS, ReductionRequest
from sppruner_vllm.settings import settings
from sppruner_vllm.worker.positions import MOST_TOKENS

NUM_KEEP: Final = "sppruner_num_keep"
QUERY_IDS: Final = "sppruner_query_ids"
METHOD: Final = "sppruner_method"

REHEARSAL: Final = "rehearsal"
"""Stands for a method in vLLM's profiling inputs: the image stays whole, but a selection is run for its memory."""

_PLANNED: Final = "sppruner_planned"
_PROFILING: Final = "sppruner_profiling"
_BY_VLLM: Final = object()
"""Marks vLLM's own profiling inputs; no request can spell it."""


@dataclass(frozen=True, slots=True)
class _Planned:
    """Rides through vLLM's processor kwargs to the hooks that need it; plans cover the images being processed."""

    plans: tuple[ReductionPlan, ...]
    hashes: dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class _Sent:
    """An image as the client sent it.

    grid: visual tokens that stock vLLM would give it. resizable: whether it is a picture, not embeddings or an array.
    """

    grid: Grid
    resizable: bool

    @property
    def tokens(self) -> int:
        return self.grid[0] * self.grid[1]


class ReductionProcessorMixin(BaseMultiModalProcessor[Any]):
    """Put before a model family's own processor in the base-class list.

    A family whose chat template is not ChatML overrides `turn_markers`; one whose image placeholder is no single token
    overrides `image_token_id`; one that sizes images otherwise than Qwen-VL overrides `cell` and `token_grid`.
    """

    @cached_property
    def _known(self) -> LRUCache[str, _Sent]:
        """Images by upstream hash, for those that later come by UUID alone."""
        return LRUCache(maxsize=8192)

    @cached_property
    def cell(self) -> int:
        """Pixels along a side of a visual token."""
        vision = self.info.get_hf_config().vision_config
        return int(vision.patch_size * vision.spatial_merge_size)

    def token_grid(self, width: int, height: int, kwargs: Mapping[str, object]) -> Grid:
        """Visual tokens of an image of that many pixels, after the resizing that its family does."""
        size, _ = self.info._get_vision_info(
            image_width=width,
            image_height=height,
            image_processor=self.info.get_image_processor(**kwargs),
            mm_kwargs=kwargs,
        )
        return size.height // self.cell, size.width // self.cell

    @cached_property
    def image_token_id(self) -> int:
        return int(self.info.get_hf_config().image_token_id)

    @cached_property
    def turn_markers(self) -> TurnMarkers:
        """The ids that tell turns, headers and silent tokens apart."""
        tokenizer = self.info.get_tokenizer()
        config = self.info.get_hf_config()
        vision = (
            config.image_token_id,
            config.video_token_id,
            config.vision_start_token_id,
            config.vision_end_token_id,
        )
        vocabulary = tokenizer.get_vocab()
        return TurnMarkers(
            start=vocabulary["<|im_start|>"],
            end=vocabulary["<|im_end|>"],
            newline=tokenizer.encode("\n", add_special_tokens=False)[-1],
            silent=frozenset((*tokenizer.all_special_ids, *vision)),
        )

    # Planning

    def apply(self, inputs: ProcessorInputs, timing_ctx: Any) -> Any:
        given = inputs.hf_processor_mm_kwargs
        kwargs = {name: value for name, value in given.items() if name not in REQUEST_FIELDS}
        profiling = kwargs.pop(_PROFILING, None) is _BY_VLLM
        inputs = replace(inputs, hf_processor_mm_kwargs=kwargs)
        try:
            request = admit(given).request
        except InvalidField as error:
            raise VLLMValidationError(str(error), parameter=error.field) from error
        hashes = super()._get_mm_hashes(inputs)
        plans = self._plan(inputs, request, hashes.get("image", []), profiling)
        if plans:
            hashes = {**hashes, "image": self._identities(hashes["image"], plans)}
            _refuse_unknown_uuids(inputs, hashes["image"])
        inputs = replace(inputs, hf_processor_mm_kwargs={**kwargs, _PLANNED: _Planned(plans, hashes)})
        output: Any = super().apply(inputs, timing_ctx)
        lengths = {
            modality: [place.length for place in places] for modality, places in output["mm_placeholders"].items()
        }
        output[ENGINE_INPUT_KEY] = account(plans, request, lengths.get("image", ()), lengths.get("video", ()))
        return output

    def get_dummy_inputs(self, *args: Any, **kwargs: Any) -> ProcessorInputs:
        """Profiling always counts unreduced images, whatever the server's default ratio."""
        inputs: ProcessorInputs = super().get_dummy_inputs(*args, **kwargs)
        return replace(inputs, hf_processor_mm_kwargs={**inputs.hf_processor_mm_kwargs, _PROFILING: _BY_VLLM})

    def _plan(
        self, inputs: ProcessorInputs, request: ReductionRequest, hashes: Sequence[str], profiling: bool
    ) -> tuple[ReductionPlan, ...]:
        if "image" not in inputs.mm_data_items:
            return ()
        sent = [self._sent(inputs, index, key) for index, key in enumerate(hashes)]
        if profiling:
            rehearsed = replace(request, method=REHEARSAL)
            return tuple(unreduced(image.tokens, rehearsed, "keep_ratio_is_1") for image in sent)
        if request.keeps_all:
            return tuple(unreduced(image.tokens, request, "keep_ratio_is_1") for image in sent)
        places = [index for index, token in enumerate(inputs.prompt) if token == self.image_token_id]
        if get_recipe(request.method).selects is not None and not _rows_can_be_placed(inputs.prompt, places, sent):
            return tuple(unreduced(image.tokens, request, "unsupported_input") for image in sent)
        queries = self._queries(inputs.prompt, places, request, len(sent))
        plans = [
            plan_image(image.tokens, request, query, settings()) for image, query in zip(sent, queries, strict=True)
        ]
        kwargs = inputs.hf_processor_mm_kwargs
        return tuple(self._shrunk(plan, request, image, kwargs) for plan, image in zip(plans, sent, strict=True))

    def _queries(
        self, prompt: Sequence[int], places: Sequence[int], request: ReductionRequest, images: int
    ) -> list[tuple[int, ...]]:
        if not get_recipe(request.method).uses_query:
            return [()] * images
        longest = settings().max_query_tokens
        if request.focus_query is None:
            return turn_queries(prompt, places[:images], self.turn_markers, longest)
        ids = self.info.get_tokenizer().encode(request.focus_query, add_special_tokens=False)
        spoken = tuple(token for token in ids if token not in self.turn_markers.silent)
        return [spoken[-longest:]] * images

    def _shrunk(
        self, plan: ReductionPlan, request: ReductionRequest, sent: _Sent, kwargs: Mapping[str, object]
    ) -> ReductionPlan:
        """The plan with a smaller image where its method wants one; the worker's step, if any, can do without."""
        recipe = get_recipe(plan.method)
        if recipe.shrinks_to is None or not plan.reduces:
            return plan
        if not sent.resizable:
            return plan if recipe.selects else unreduced(plan.original, request, "unsupported_input")
        least = math.prod(self.token_grid(self.cell, self.cell, kwargs))
        if recipe.selects:
            least = max(least, plan.retained)
        rows, columns = smaller_grid(sent.grid, recipe.shrinks_to(plan.original, plan.retained), least)
        # An image far longer than wide, under a small `max_pixels` of the operator's, would be resized once more.
        stays = self.token_grid(columns * self.cell, rows * self.cell, kwargs) == (rows, columns)
        if rows * columns == plan.original or not stays:
            return plan if recipe.selects else unreduced(plan.original, request, "image_too_small")
        return replace(plan, retained=plan.retained if recipe.selects else rows * columns, resized=(rows, columns))

    def _sent(self, inputs: ProcessorInputs, index: int, key: str) -> _Sent:
        """An image before any reduction; one sent by UUID alone is known from an earlier request."""
        items = inputs.mm_data_items["image"]
        if isinstance(items, DictEmbeddingItems):
            frames, height, width = items.get(index)["image_grid_thw"].flatten().tolist()
            merge = int(self.info.get_hf_config().vision_config.spatial_merge_size)
            return _Sent((frames * (height // merge), width // merge), resizable=False)
        picture = items.get(index)
        if picture is None:
            if key not in self._known:
                raise VLLMValidationError(f"image {index} was sent by uuid only and is not cached", parameter="uuid")
            return self._known[key]
        size = cast("ImageProcessorItems", items).get_image_size(index)
        grid = self.token_grid(size.width, size.height, inputs.hf_processor_mm_kwargs)
        self._known[key] = sent = _Sent(grid, isinstance(picture, Image.Image))
        return sent

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
                version=ALGORITHM_VERSION,
                attention=settings().saliency_attention,
                query=torch.tensor(plan.query_ids, dtype=torch.int64),
            )
            if plan.reduces
            else key
            for key, plan in zip(hashes, plans, strict=True)
        ]

    # vLLM's hooks, in the order they are called

    def _get_mm_hashes(self, inputs: ProcessorInputs) -> dict[str, list[str]]:
        return _planned(inputs.hf_processor_mm_kwargs).hashes

    def _get_cache_missing_processor_kwargs(
        self, inputs: ProcessorInputs, mm_is_cached: Mapping[str, Sequence[bool]]
    ) -> Mapping[str, object]:
        planned = _planned(inputs.hf_processor_mm_kwargs)
        cached = mm_is_cached.get("image", ())
        missing = tuple(plan for plan, hit in zip(planned.plans, cached, strict=True) if not hit)
        return {**inputs.hf_processor_mm_kwargs, _PLANNED: replace(planned, plans=missing)}

    def _apply_hf_processor_main(self, mm_items: MultiModalDataItems, hf_kwargs: Mapping[str, object]) -> BatchFeature:
        plans = _planned(hf_kwargs).plans
        output = super()._apply_hf_processor_main(
            mm_items=_resized(mm_items, plans, self.cell), hf_kwargs=_clean(hf_kwargs)
        )
        # Every image carries every field: vLLM batches only items with equal keys.
        if plans:
            output[NUM_KEEP] = torch.tensor([plan.retained for plan in plans], dtype=torch.int64)
            output[QUERY_IDS] = [torch.tensor(plan.query_ids, dtype=torch.int64) for plan in plans]
            methods = [get_recipe(plan.method).selects or plan.method for plan in plans]
            output[METHOD] = [torch.frombuffer(bytearray(name.encode()), dtype=torch.uint8) for name in methods]
        return output

    def _get_mm_fields_config(
        self, hf_inputs: BatchFeature, hf_processor_mm_kwargs: Mapping[str, object]
    ) -> Mapping[str, MultiModalFieldConfig]:
        return {
            **super()._get_mm_fields_config(hf_inputs, _clean(hf_processor_mm_kwargs)),
            # On the CPU because the host decides by it; kept by vLLM also for items that a prefix-cache hit covers.
            NUM_KEEP: MultiModalFieldConfig.batched("image", keep_on_cpu=True),
            METHOD: MultiModalFieldConfig.batched("image", keep_on_cpu=True),
            QUERY_IDS: MultiModalFieldConfig.batched("image"),
        }

    def _get_prompt_updates(
        self,
        mm_items: MultiModalDataItems,
        hf_processor_mm_kwargs: Mapping[str, Any],
        out_mm_kwargs: MultiModalKwargsItems,
    ) -> Sequence[PromptUpdate]:
        updates = super()._get_prompt_updates(
            mm_items=mm_items, hf_processor_mm_kwargs=_clean(hf_processor_mm_kwargs), out_mm_kwargs=out_mm_kwargs
        )
        plans = _planned(hf_processor_mm_kwargs).plans
        return [_shortened(update, plans) if update.modality == "image" else update for update in updates]


def _planned(kwargs: Mapping[str, Any]) -> _Planned:
    return cast("_Planned", kwargs[_PLANNED])


def _clean(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Kwargs as upstream knows them: it keys a cache of loaded processors by them."""
    return {key: value for key, value in kwargs.items() if key != _PLANNED}


def _rows_can_be_placed(prompt: Sequence[int], places: Sequence[int], images: Sequence[_Sent]) -> bool:
    """Whether positions can be recovered (positions.py): text ends the prompt, no image is one token or enormous."""
    if len(places) < len(images) or places[-1] == len(prompt) - 1:
        return False
    return all(1 < image.tokens <= MOST_TOKENS for image in images)


def _resized(items: MultiModalDataItems, plans: Sequence[ReductionPlan], cell: int) -> MultiModalDataItems:
    """The items with the images that their plans make smaller; done as late as this, a cached image costs nothing."""
    if all(plan.resized is None for plan in plans):
        return items
    images = items["image"]
    pictures = [
        images.get(index) if plan.resized is None else resize(images.get(index), plan.resized, cell)
        for index, plan in enumerate(plans)
    ]
    return MultiModalDataItems({**items, "image": ImageProcessorItems(pictures)})


def _refuse_unknown_uuids(inputs: ProcessorInputs, identities: Sequence[str]) -> None:
    """An image sent by UUID alone must be cached under the very plan of this request."""
    items = inputs.mm_data_items["image"]
    for index, identity in enumerate(identities):
        known = inputs.cache is not None and inputs.cache.is_cached_item(identity)
        if not known and not isinstance(items, DictEmbeddingItems) and items.get(index) is None:
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
