"""Multimodal-processor mixin: carries out, before the encoder runs, what is planned of each image.

Runs in the API process. One plan per image (plans.py) sets the size the image is brought to, its placeholder count and
its identity in every vLLM cache, and the order that tells the worker what to select.
docs/develop/architecture.md, "How a request flows".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import compress
from typing import Any, Final

from transformers.feature_extraction_utils import BatchFeature
from vllm.multimodal.inputs import MultiModalFieldConfig, MultiModalKwargsItems
from vllm.multimodal.parse import MultiModalDataItems
from vllm.multimodal.processing import PromptUpdate
from vllm.multimodal.processing.inputs import ProcessorInputs

from sppruner_vllm import wire
from sppruner_vllm.admission import Admitted, admit
from sppruner_vllm.compat.versions import media_placeholders
from sppruner_vllm.planning.accounting import ENGINE_INPUT_KEY, account
from sppruner_vllm.planning.plan import ReductionPlan
from sppruner_vllm.planning.scope import FirstQuestions
from sppruner_vllm.planning.telling import ASKED_ABOUT, asked_about
from sppruner_vllm.request.fields import MAX_PIXELS, REQUEST_FIELDS
from sppruner_vllm.request.handed_over import HANDED_OVER, TELLING, Telling
from sppruner_vllm.request.spelling import refuse_lost
from sppruner_vllm.settings import settings

from .carried import PLANNED, Planned, orders, planned_in, without_plan
from .embedded import came_encoded
from .fitting import blaming, refuse_misfit, refuse_other_sizes
from .identity import encoded_as, identities, told_apart
from .pixel_limits import limits_of
from .pixels_cache import merged
from .placeholders import shortened
from .places import refuse_short_videos, refuse_spare_places, refuse_unknown_uuids
from .refusing import refusing
from .shared_budget import SharedBudgetMixin
from .typed_markers import TypedMarkers
from .unprocessed import unprocessed
from .uuids import LastSent
from .video_placeholders import shortened_videos
from .videos import video_tokens

_PROFILING: Final = "sppruner_profiling"
_BY_VLLM: Final = object()
"""Marks vLLM's own profiling inputs; no request can spell it."""


class ReductionProcessorMixin(SharedBudgetMixin):
    """Put before a model family's own processor in the base-class list."""

    @cached_property
    def typed_markers(self) -> TypedMarkers:
        """What clients may type of this model's markers, for the renderer (compat/rendering.py)."""
        return TypedMarkers(self.info.get_tokenizer(), self.family.media_tokens.values(), media_placeholders())

    @cached_property
    def _last_sent(self) -> LastSent:
        return LastSent(self.info.ctx.get_mm_config().mm_hasher_algorithm)

    def apply(self, inputs: ProcessorInputs, timing_ctx: Any) -> Any:
        given = inputs.hf_processor_mm_kwargs
        kwargs = {name: value for name, value in given.items() if name not in {*REQUEST_FIELDS, *HANDED_OVER}}
        if _is_the_processors(given):
            kwargs[MAX_PIXELS] = given[MAX_PIXELS]
        profiling = kwargs.pop(_PROFILING, None) is _BY_VLLM
        inputs = replace(inputs, hf_processor_mm_kwargs=kwargs)
        with refusing():
            refuse_lost(given)
            request = admit(given).request
            if MAX_PIXELS in kwargs:
                request = replace(request, max_pixels=None)
            refuse_other_sizes(self.family, kwargs)
            images = len(inputs.mm_data_items.get("image", ()))
            pixels = [None] * images if profiling else limits_of(request, images)
        if not profiling:
            with refusing():
                inputs = self._within_pixels(inputs, request, pixels)
            refuse_spare_places(self.family, inputs)
            refuse_short_videos(self.family, inputs)
            if settings().shrink_large_images:
                inputs = self._within_room(inputs, request)
        hashes = self._last_sent.hashes(inputs, super()._get_mm_hashes)
        known = FirstQuestions(lambda: self._questions)
        sent = [
            self._sent(inputs, index, key, limit)
            for index, (key, limit) in enumerate(zip(hashes.get("image", ()), pixels, strict=True))
        ]
        with refusing(), blaming(kwargs):
            claims = [] if profiling else self._claims_of_videos(inputs, request, hashes.get("video", ()), sent)
        of_pictures, of_videos = self._shares_of_both(inputs, request, sent, claims)
        plans = self._plan(inputs, request, sent, profiling, known, of_pictures)
        algorithm = self.info.ctx.get_mm_config().mm_hasher_algorithm
        kept = not (profiling or came_encoded(inputs)) and (settings().rows_cache_mib or settings().pixels_cache_mib)
        pictures = tuple(encoded_as(algorithm, sent, plans)) if kept else ("",) * len(plans)
        telling: Telling | None = given.get(TELLING)
        told = _told(telling, plans)
        if plans:
            keys = told_apart(algorithm, identities(algorithm, hashes["image"], plans), told)
            hashes = {**hashes, "image": keys}
            refuse_unknown_uuids(inputs, hashes["image"])
        videos = self._ask_videos(
            inputs, request, hashes.get("video", ()), known, of_videos, sent, telling=telling, profiling=profiling
        )
        if videos:
            hashes = {**hashes, "video": [video.identity for video in videos]}
        if any(video.ask.reduces for video in videos):
            refuse_unknown_uuids(inputs, hashes["video"], "video")
        planned = Planned(plans, pictures, told, hashes, profiling, videos if self._orders_videos else ())
        with refusing(), blaming(kwargs):
            output: Any = super().apply(
                replace(inputs, hf_processor_mm_kwargs={**kwargs, PLANNED: planned}), timing_ctx
            )
        lengths = {
            # A video may hold text between its frames.
            modality: [place.get_num_embeds() for place in places]
            for modality, places in output["mm_placeholders"].items()
        }
        sizes = self._sizes_of(videos, lengths.get("video", ()))
        self._refuse_beyond_bounds_with_videos(
            len(output["prompt_token_ids"]) - sum(map(sum, lengths.values())), plans, sent, videos, sizes
        )
        known.keep()
        if telling is not None:
            output[ASKED_ABOUT] = asked_about(plans, sent, inputs.mm_data_items.get("image"))
        shrunk = [image.shrunk for image in sent]
        accounted = video_tokens(videos, sizes, lengths.get("video", ()))
        output[ENGINE_INPUT_KEY] = account(plans, request, lengths.get("image", ()), accounted, shrunk)
        return output

    def get_dummy_inputs(self, *args: Any, **kwargs: Any) -> ProcessorInputs:
        """Profiling always counts unreduced images, whatever the server's default ratio."""
        inputs: ProcessorInputs = super().get_dummy_inputs(*args, **kwargs)
        return replace(inputs, hf_processor_mm_kwargs={**inputs.hf_processor_mm_kwargs, _PROFILING: _BY_VLLM})

    # vLLM's hooks, in the order they are called

    def _get_mm_hashes(self, inputs: ProcessorInputs) -> dict[str, list[str]]:
        return planned_in(inputs.hf_processor_mm_kwargs).hashes

    def _get_cache_missing_processor_kwargs(
        self, inputs: ProcessorInputs, mm_is_cached: Mapping[str, Sequence[bool]]
    ) -> Mapping[str, object]:
        planned = planned_in(inputs.hf_processor_mm_kwargs)
        missing = [not hit for hit in mm_is_cached.get("image", ())]
        plans, pictures = tuple(compress(planned.plans, missing)), tuple(compress(planned.pictures, missing))
        told = tuple(compress(planned.told, missing))
        videos = tuple(compress(planned.videos, (not hit for hit in mm_is_cached.get("video", ()))))
        inputs = replace(inputs, hf_processor_mm_kwargs=without_plan(inputs.hf_processor_mm_kwargs))
        kwargs: Mapping[str, object] = super()._get_cache_missing_processor_kwargs(inputs, mm_is_cached)
        return {**kwargs, PLANNED: replace(planned, plans=plans, pictures=pictures, told=told, videos=videos)}

    def _apply_hf_processor_main(self, mm_items: MultiModalDataItems, hf_kwargs: Mapping[str, object]) -> BatchFeature:
        planned, kwargs = planned_in(hf_kwargs), without_plan(hf_kwargs)
        if not (self.family.reduces and (planned.plans or planned.videos)):
            return super()._apply_hf_processor_main(mm_items=mm_items, hf_kwargs=kwargs)
        output = self._with_kept_pixels(mm_items, planned, kwargs)
        if planned.plans:
            output.update(wire.encode(orders(planned)))
        if planned.videos:
            found = self._video_orders(planned.videos, output, profiling=planned.profiling)
            output.update(wire.encode_videos(found))
        return output

    def _with_kept_pixels(
        self, mm_items: MultiModalDataItems, planned: Planned, kwargs: Mapping[str, object]
    ) -> BatchFeature:
        """What vLLM's processor makes of a request, but for images and videos whose pixels are kept."""
        names = planned.names
        known = {kind: self._pixels.find(own) for kind, own in names.items()}
        unknown = {
            kind: [place for place in range(len(own)) if place not in known[kind]] for kind, own in names.items()
        }
        items = unprocessed(mm_items, planned.plans, unknown, self.family.cell)
        output = super()._apply_hf_processor_main(mm_items=items, hf_kwargs=kwargs) if items else BatchFeature()
        if items and kwargs:
            refuse_misfit(self.family, output)
        if not any(known.values()):
            return output
        fields = super()._get_mm_fields_config(output, kwargs) if items else {}
        made = MultiModalKwargsItems.from_hf_inputs(output, fields)
        for kind, own in names.items():
            if known[kind]:
                left = iter(made.get(kind, []))
                output.update(merged([known[kind].get(place) or next(left) for place in range(len(own))]))
        return output

    def _get_mm_fields_config(
        self, hf_inputs: BatchFeature, hf_processor_mm_kwargs: Mapping[str, object]
    ) -> Mapping[str, MultiModalFieldConfig]:
        return {
            **super()._get_mm_fields_config(hf_inputs, without_plan(hf_processor_mm_kwargs)),
            **{
                name: MultiModalFieldConfig.batched("image", keep_on_cpu=on_host)
                for name, on_host in wire.HOST_FIELDS.items()
            },
            **{
                name: MultiModalFieldConfig.batched("video", keep_on_cpu=on_host)
                for name, on_host in wire.VIDEO_FIELDS.items()
            },
        }

    def _get_prompt_updates(
        self,
        mm_items: MultiModalDataItems,
        hf_processor_mm_kwargs: Mapping[str, Any],
        out_mm_kwargs: MultiModalKwargsItems,
    ) -> Sequence[PromptUpdate]:
        updates: Sequence[PromptUpdate] = super()._get_prompt_updates(
            mm_items=mm_items, hf_processor_mm_kwargs=without_plan(hf_processor_mm_kwargs), out_mm_kwargs=out_mm_kwargs
        )
        if not self.family.reduces:
            return updates
        planned = planned_in(hf_processor_mm_kwargs)
        # Here, for vLLM has told apart by now what belongs to which image.
        for kind, names in planned.names.items():
            self._pixels.keep(names, out_mm_kwargs.get(kind, []))

        def ours(update: PromptUpdate) -> PromptUpdate:
            if update.modality == "image":
                return shortened(update, planned.plans)
            if update.modality == "video" and planned.videos:
                return shortened_videos(update, self.family.media_tokens["video"], out_mm_kwargs["video"])
            return update

        return [ours(update) for update in updates]


def _told(telling: Telling | None, plans: Sequence[ReductionPlan]) -> tuple[str, ...]:
    """The name of each image's selection, empty where nobody asked or nothing is selected."""
    if telling is None:
        return ("",) * len(plans)
    return tuple(telling.name_of(place) if plan.reduces else "" for place, plan in enumerate(plans))


def _is_the_processors(given: Mapping[str, Any]) -> bool:
    """Whether `max_pixels` comes from a caller of `LLM`, for Qwen's image processor: it may raise its limit too."""
    return not isinstance(given, Admitted) and isinstance(given.get(MAX_PIXELS), int)
