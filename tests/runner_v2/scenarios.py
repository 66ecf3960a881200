"""What both model runners are asked: engines, each with its steps, each a batch of requests. Of whom: models.py."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from PIL import Image

from sppruner_vllm.demo_model import picture

TOKENS: Final = 8


@dataclass(frozen=True, slots=True)
class Request:
    """text: after the pictures. pictures: names of PICTURES, or VIDEO. fields: those of ours."""

    text: str
    pictures: tuple[str, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)

    def messages(self) -> list[dict[str, Any]]:
        """The conversation, OpenAI messages with PIL pictures."""
        shown = [
            {"type": "video_url", "video_url": {"url": _video()}}
            if name == VIDEO
            else {"type": "image_pil", "image_pil": PICTURES[name]()}
            for name in self.pictures
        ]
        return [{"role": "user", "content": [*shown, {"type": "text", "text": self.text}]}]


@dataclass(frozen=True, slots=True)
class Step:
    """Requests of one batch.

    tokens: that each answer has. warm: prefix cache as the steps before left it, else empty.
    settings: of the operator for this step alone, by name in capitals. told: a worker is asked what it keeps.
    shows: names of `outcomes.FACTS` without which the step would not test what its name says.
    """

    name: str
    requests: tuple[Request, ...]
    shows: tuple[str, ...] = ()
    tokens: int = TOKENS
    warm: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)
    told: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Engine:
    """options: of `LLM`, over the usual ones. asynchronous: V2 schedules a step ahead, as a GPU does by default.

    settings: of the operator that the engine reads as it starts, by name in capitals.
    """

    name: str
    options: Mapping[str, Any]
    steps: tuple[Step, ...]
    asynchronous: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)


def _scene() -> Image.Image:
    return Image.open(picture.PICTURE).convert("RGB")


def _half() -> Image.Image:
    scene = _scene().transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return scene.crop((0, 0, scene.width, scene.height // 2))


def _page() -> Image.Image:
    scene = _scene()
    paper = Image.new("RGB", scene.size, (255, 255, 255))
    paper.paste(scene.resize((scene.width // 2, scene.height // 2)), (20, 20))
    return paper


PICTURES: Final = {"scene": _scene, "half": _half, "page": _page}
"""The demo's picture, 256 visual tokens of the demo model; the upper half of its mirror image, 128; and a small one on
white paper, of which many tokens are the same."""


VIDEO: Final = "video"


def _video() -> str:
    """Four frames of the encoder: two pictures, each of them standing still for two frames."""
    sent = []
    for shown in (_scene(), _page()):
        buffer = io.BytesIO()
        shown.resize((140, 112)).save(buffer, "JPEG")
        sent += [base64.b64encode(buffer.getvalue()).decode()] * 4
    return "data:video/jpeg;base64," + ",".join(sent)


def ratio(value: float, **fields: Any) -> dict[str, Any]:
    """Fields of a request with a keep ratio."""
    return {"keep_ratio": value, **fields}


TOLD: Final = "what is told is what was kept"

SIGN: Final = picture.QUESTIONS[1][0]


def about_scene(value: float, **fields: Any) -> Request:
    return Request(SIGN, ("scene",), ratio(value, **fields))


def about_both(value: float, text: str = "compare") -> Request:
    return Request(text, ("scene", "half"), ratio(value))


SEVERAL_LENGTHS: Final = tuple(about_both(value) for value in (0.222, 0.4, 0.5))
"""Of one of them the last whole block ends inside the second picture, however much text a template brings."""

AT_MOST_128: Final = Request("compare", ("scene", "half"), {"keep_tokens": 128})
"""Of the demo model's pictures one is reduced and one kept whole."""

MIXED: Final = (
    about_scene(1),
    about_scene(0.5),
    about_scene(0.222),
    Request("hello", fields=ratio(1)),
    Request("compare", ("half", "scene"), ratio(0.1)),
)

FEWER: Final = {"ENCODER_CUT": "2", "ENCODER_CUT_BLOCK": "1", "SKIP_REPEATS": "1"}
"""Not all tokens go through the encoder, where the model family knows how."""

READ: Final = {"QUESTION_DEPTH": "0.5"}
"""The question goes through half of the language model's layers, where the engine runs in one process."""

AUTO: Final = {"FOCUS_SCOPE": "auto"}

ABOUT_PAGE: Final = Request(SIGN, ("page", "scene"), ratio(0.222))


def _short(name: str, switches: Mapping[str, str]) -> Engine:
    """The fewest steps that notice each of `faults.FAULTS`: whole prompts, cut pictures, several pictures."""
    return Engine(
        name,
        {"max_num_batched_tokens": 150, "max_num_seqs": 4},
        (
            Step("scene at 1", (about_scene(1),), ("a chunk ends inside a picture",)),
            Step("scene at 0.8", (about_scene(0.8),), ("a chunk ends inside a picture",)),
            Step("scene at 0.222", (about_scene(0.222),), ("one chunk", "no picture is encoded")),
            # Where both pictures are too much for the encoder at once, the first step ends between them.
            Step("two pictures", (about_both(0.5),)),
            Step("two pictures of at most 128 tokens", (AT_MOST_128,)),
            Step("fewer tokens in the encoder", (about_scene(0.3),), settings=switches),
        ),
    )


SHORT: Final = _short("short", FEWER | READ)
UNREAD: Final = _short("short, questions unread", FEWER)
"""For models whose language model reads no questions."""

WHOLE: Final = Engine(
    "whole prompts",
    {},
    (
        *(Step(f"scene at {value}", (about_scene(value),), ("one chunk",)) for value in (1, 0.06, 0.222)),
        Step("the same again", (about_scene(0.222),), ("a prefix is cached",), warm=True),
        Step("two pictures", SEVERAL_LENGTHS, ("one chunk",)),
        Step("two pictures again", SEVERAL_LENGTHS, ("a cached prefix ends inside picture 2",), warm=True),
        Step("two pictures of at most 128 tokens", (AT_MOST_128,), ("one chunk",)),
        *(
            Step(f"method {method}", (about_scene(0.3, reduction_method=method),))
            for method in ("uniform", "hybrid", "downscale")
        ),
        Step("two pictures, told", (about_both(0.222),), (TOLD,), told=True),
        Step("mixed batch", MIXED),
    ),
)
CHUNKS: Final = Engine(
    "chunks of 48",
    {"max_num_batched_tokens": 48, "max_num_seqs": 4, "enable_prefix_caching": False},
    (
        *(Step(f"scene at {value}", (about_scene(value),), ("a chunk ends inside a picture",)) for value in (1, 0.222)),
        Step("two pictures", (about_both(0.5),), ("a chunk ends inside a picture",)),
        Step("two pictures of at most 128 tokens", (AT_MOST_128,), ("a chunk ends inside a picture",)),
        Step("two pictures, told", (about_both(0.5),), (TOLD,), told=True),
        Step("mixed batch", MIXED, tokens=16),
    ),
)
ASYNCHRONOUS: Final = Engine(
    "asynchronous scheduling",
    {"max_num_batched_tokens": 48, "max_num_seqs": 4},
    (
        *(Step(f"scene at {value}", (about_scene(value),), ("scheduled ahead",)) for value in (1, 0.222)),
        Step("mixed batch", MIXED, ("scheduled ahead",), tokens=16),
        Step("mixed batch again", MIXED, ("scheduled ahead", "a prefix is cached"), tokens=16, warm=True),
    ),
    asynchronous=True,
)
PREEMPTION: Final = Engine(
    "preemption",
    {"num_gpu_blocks_override": 16, "max_model_len": 480, "max_num_batched_tokens": 480},
    (Step("mixed batch", MIXED[1:], ("a request was preempted",), tokens=96),),
)
SWITCHES: Final = Engine(
    "each switch",
    {"max_num_batched_tokens": 48, "max_num_seqs": 4},
    (
        Step("no rows are kept", (about_scene(0.222), about_scene(0.5))),
        *(
            Step(name, (ABOUT_PAGE,), ("a chunk ends inside a picture",), settings=settings)
            for name, settings in (
                ("encoder cut", {"ENCODER_CUT": "2", "ENCODER_CUT_BLOCK": "1"}),
                ("repeats", {"SKIP_REPEATS": "1"}),
                ("both", FEWER),
                ("attention", {"SALIENCY_ATTENTION": "1"}),
                ("patches", {"RANK_ON": "patches"}),
                ("question depth", READ),
                ("image scope", {"FOCUS_SCOPE": "image"}),
                ("auto scope", AUTO),
            )
        ),
        Step("both, told", (ABOUT_PAGE,), (TOLD,), settings=FEWER, told=True),
        Step("auto scope, another question", (Request("what", ("page", "scene"), ratio(0.222)),), settings=AUTO),
        Step("ratio 1", (Request(SIGN, ("page", "scene"), ratio(1)),), settings=FEWER),
    ),
    settings={"ROWS_CACHE_MIB": "0", "PIXELS_CACHE_MIB": "0"},
)


def about_video(value: float, *shown: str) -> Request:
    return Request(SIGN, shown or (VIDEO,), ratio(value))


VIDEOS: Final = Engine(
    "videos in chunks of 32",
    {"max_num_batched_tokens": 32, "max_num_seqs": 4, "limit_mm_per_prompt": {"image": 2, VIDEO: 2}},
    (
        Step("video at 1", (about_video(1),), ("a chunk ends inside a picture",)),
        Step("video at 0.5", (about_video(0.5),)),
        Step("video at 0.5 again", (about_video(0.5),), ("a prefix is cached",), warm=True),
        Step("a picture between two videos", (about_video(0.4, VIDEO, "half", VIDEO),)),
        Step("mixed batch", (about_video(0.3), about_scene(0.222), about_video(1), about_video(0.2, "half", VIDEO))),
    ),
)
TWO_RANKS: Final = Engine(
    "two ranks",
    {"tensor_parallel_size": 2},
    (
        Step("scene at 1", (about_scene(1),)),
        Step("scene at 0.222", (about_scene(0.222),)),
        Step("two pictures of at most 128 tokens", (AT_MOST_128,)),
        Step("fewer tokens in the encoder", (ABOUT_PAGE,), settings=FEWER),
        Step("ranked before the merger", (ABOUT_PAGE,), settings=FEWER | {"RANK_ON": "patches"}),
    ),
)
ENGINES: Final = (SHORT, WHOLE, CHUNKS, ASYNCHRONOUS, PREEMPTION, SWITCHES, VIDEOS, TWO_RANKS)
