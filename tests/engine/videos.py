"""Prompts with videos, what an engine keeps of them, and what transformers makes of them in float32."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from cases import PORTRAIT, SQUARE, Size, picture
from engines import TOKENS, Answer, answer_of
from reference import Prompt, Reference

_OF_28, _OF_32 = (112, 140), (128, 160)
FRAMES: dict[str, Size] = {"qwen2_5_vl": _OF_28, "qwen2_vl": _OF_28, "qwen3_vl": _OF_32, "qwen3_vl_moe": _OF_32}
"""Width and height of a video's pictures, by family that reduces videos, in whole visual tokens."""

EACH = 20
"""Visual tokens of a frame."""

SCENES = (0, 0, 1, 1, 2)
"""What each frame shows: the second and the fourth repeat the one before."""

PAD = "<|vision_start|><|{}_pad|><|vision_end|>"

Kind = Literal["image", "video"]
_seeds = itertools.count(20_000, 100)


def video(size: Size, seed: int, scenes: Sequence[int] = SCENES) -> tuple[np.ndarray, dict[str, Any]]:
    """Two equal pictures for each scene, which the encoder takes for one frame, as vLLM takes a video."""
    frames = np.stack([np.asarray(picture(size, seed + scene)) for scene in scenes for _ in range(2)])
    known = {
        "fps": 2.0,
        "duration": len(frames) / 2,
        "total_num_frames": len(frames),
        "frames_indices": list(range(len(frames))),
        "video_backend": "opencv",
        "do_sample_frames": False,
    }
    return frames, known


@dataclass(frozen=True)
class Shown:
    """A prompt with pictures and videos, which no other prompt has shown.

    kinds: in their order. size: of videos' pictures. seed: of the first; each has others. scenes: of each video.
    question: behind them.
    """

    kinds: tuple[Kind, ...]
    size: Size
    seed: int
    scenes: tuple[int, ...] = SCENES
    question: str = "what"

    @property
    def text(self) -> str:
        """As a chat template would write it, with one placeholder for each."""
        between = " then ".join(PAD.format(kind) for kind in self.kinds)
        return f"<|im_start|>user\n{between} {self.question}<|im_end|>\n<|im_start|>assistant\n"

    @property
    def pictures(self) -> list[Image.Image]:
        sizes = itertools.cycle((PORTRAIT, SQUARE))
        return [
            picture(next(sizes), self.seed + 10 * place) for place, kind in enumerate(self.kinds) if kind == "image"
        ]

    @property
    def videos(self) -> list[tuple[np.ndarray, dict[str, Any]]]:
        return [
            video(self.size, self.seed + 10 * place, self.scenes)
            for place, kind in enumerate(self.kinds)
            if kind == "video"
        ]

    def request(self, **fields: Any) -> dict[str, Any]:
        """What `LLM.generate` takes."""
        data = {"image": self.pictures, "video": self.videos}
        return {
            "prompt": self.text,
            "multi_modal_data": {kind: items for kind, items in data.items() if items},
            "mm_processor_kwargs": fields,
        }


def shown(family: str, *kinds: Kind, scenes: Sequence[int] = SCENES) -> Shown:
    """A prompt for a family that shows what no prompt of this session has shown."""
    return Shown(kinds, FRAMES[family], next(_seeds), tuple(scenes))


def ask_all(llm: Any, asked: Sequence[Shown], fields: Sequence[dict[str, Any]], tokens: int = TOKENS) -> list[Answer]:
    """Put prompts to an engine as one batch; `fields` of each."""
    from vllm import SamplingParams

    sampling = SamplingParams(max_tokens=tokens, temperature=0, logprobs=-1, ignore_eos=True)
    requests = [one.request(**own) for one, own in zip(asked, fields, strict=True)]
    return [answer_of(output) for output in llm.generate(requests, sampling, use_tqdm=False)]


def ask_shown(llm: Any, asked: Shown, ratio: float | None = None, **fields: Any) -> Answer:
    """Put one prompt to an engine."""
    (answer,) = ask_all(llm, [asked], [fields if ratio is None else {"keep_ratio": ratio, **fields}])
    return answer


@dataclass
class Kept:
    """What was kept, in the order of the prompt's pictures, and of its videos. pictures: tokens. frames: of each."""

    pictures: list[list[int]]
    videos: list[list[list[int]]]

    @property
    def counts(self) -> list[list[int]]:
        """Tokens of each frame of each video."""
        return [[len(frame) for frame in frames] for frames in self.videos]


@contextmanager
def recorded_kept() -> Iterator[Kept]:
    """What any engine of this process keeps inside the block, as it is selected."""
    from sppruner_vllm.worker import positions

    found = Kept([], [])
    pack, pack_frames = positions.pack, positions.pack_frames

    def of_picture(rows: Tensor, kept: Tensor, width: int) -> Tensor:
        found.pictures.append(kept.tolist())
        return pack(rows, kept, width)

    def of_video(rows: Any, kept: Any, grid: Any, *, together: bool) -> Tensor:
        found.videos.append([one.tolist() for one in kept])
        pictures = list(found.pictures)
        packed = pack_frames(rows, kept, grid, together=together)
        found.pictures[:] = pictures  # frames are packed one by one, as pictures are
        return packed

    positions.pack, positions.pack_frames = of_picture, of_video
    try:
        yield found
    finally:
        positions.pack, positions.pack_frames = pack, pack_frames


@contextmanager
def recorded_positions(model: Any) -> Iterator[dict[str, Any]]:
    """Of the prompt asked inside the block: `asked`, ids and features; `places`, its positions at last; and `delta`."""
    found: dict[str, Any] = {}
    initial, placed = model.get_mrope_input_positions, model.recompute_mrope_positions

    def first(ids: list[int], features: list[Any]) -> Any:
        found["asked"] = ids, features
        found["places"], found["delta"] = initial(ids, features)
        return found["places"], found["delta"]

    def again(**given: Any) -> Any:
        rows, now, delta = placed(**given)
        found["places"] = now.clone()
        return rows, now, delta

    model.get_mrope_input_positions, model.recompute_mrope_positions = first, again
    try:
        yield found
    finally:
        del model.get_mrope_input_positions, model.recompute_mrope_positions


@contextmanager
def video_runs(model: Any) -> Iterator[list[int]]:
    """Videos in each run of upstream's encoder inside the block, in order."""
    runs: list[int] = []
    encoder = model._videos.encoder
    encode = encoder._upstream

    def counting(**inputs: Any) -> Any:
        rows = list(encode(**inputs))
        runs.append(len(rows))
        return rows

    encoder._upstream = counting
    try:
        yield runs
    finally:
        encoder._upstream = encode


class VideoReference(Reference):
    """A tiny Qwen-VL under transformers, with videos in its prompts."""

    def _inputs(self, case: Shown) -> Any:  # type: ignore[override]
        frames, known = zip(*case.videos, strict=True) if case.videos else ((), ())
        return self.processor(
            text=[case.text],
            images=case.pictures or None,
            videos=list(frames) or None,
            video_metadata=[
                {name: one[name] for name in ("fps", "total_num_frames", "frames_indices")} for one in known
            ],
            do_sample_frames=False,
            return_tensors="pt",
            text_kwargs={"add_special_tokens": False},
        )

    @torch.inference_mode()
    def prompt(self, case: Shown, kept: Kept | None) -> Prompt:  # type: ignore[override]
        """The unreduced prompt, and which of its tokens stay."""
        inputs = self._inputs(case)
        ids = inputs["input_ids"]
        embeddings = self.model.get_input_embeddings()(ids)
        keep = torch.ones(ids.shape[1], dtype=torch.bool)
        planes: list[Tensor] = []
        for token, rows, chosen in (
            (self.model.config.image_token_id, self._pictures(inputs), None if kept is None else kept.pictures),
            (
                self.model.config.video_token_id,
                self._videos(inputs),
                None if kept is None else _whole_videos(kept, inputs),
            ),
        ):
            places = (ids[0] == token).nonzero().flatten()
            if not rows:
                assert not len(places)
                continue
            own, *deeper = torch.cat(rows).split(embeddings.shape[-1], dim=1)
            embeddings[0, places] = own
            planes = planes or [torch.zeros_like(embeddings[0]) for _ in deeper]
            for plane, level in zip(planes, deeper, strict=True):
                plane[places] = level
            if chosen is not None:
                keep[places] = False
                for own_places, tokens in zip(places.split([len(one) for one in rows]), chosen, strict=True):
                    keep[own_places[torch.tensor(tokens)]] = True
        return Prompt(embeddings, *self._positions(inputs), keep, tuple(planes))

    def ids(self, case: Shown, keep: Tensor) -> list[int]:
        """Of the tokens of a prompt that stay."""
        return self._inputs(case)["input_ids"][0][keep].tolist()

    def _pictures(self, inputs: Any) -> list[Tensor]:
        return self._features(inputs) if "pixel_values" in inputs else []

    def _videos(self, inputs: Any) -> list[Tensor]:
        """The encoder's rows of each video, as `_features` has them of pictures."""
        if "pixel_values_videos" not in inputs:
            return []
        found = self.model.model.get_video_features(inputs["pixel_values_videos"], inputs["video_grid_thw"])
        levels = getattr(found, "deepstack_features", None) or ()
        return [torch.cat(parts, dim=1) for parts in zip(found.pooler_output, *levels, strict=True)]

    def _positions(self, inputs: Any) -> tuple[Tensor, int]:
        """As transformers has them, but text behind a video goes on after its last moment.

        So it does in vLLM, and in Qwen's own code; transformers 5 goes on behind the longer side of a frame.
        """
        given = ("image_grid_thw", "video_grid_thw", "second_per_grid_ts")
        ids = inputs["input_ids"]
        positions, _ = self.model.model.get_rope_index(
            ids, inputs["mm_token_type_ids"], **{name: inputs.get(name) for name in given}
        )
        shown = (ids[0] == self.model.config.video_token_id).tolist()
        for end in (place for place in range(1, len(shown)) if shown[place - 1] and not shown[place]):
            positions[..., end:] += positions[..., :end].max() + 1 - positions[0, 0, end]
        return positions, int(positions.max()) + 1


def _whole_videos(kept: Kept, inputs: Any) -> list[list[int]]:
    """What is kept of each video, counted through all of its frames."""
    each = [int(height * width) // 4 for _, height, width in inputs.get("video_grid_thw", ())]
    return [
        [number * size + token for number, frame in enumerate(frames) for token in frame]
        for frames, size in zip(kept.videos, each, strict=True)
    ]
