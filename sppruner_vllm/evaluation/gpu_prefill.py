"""`make bench-gpu`: prefill of Qwen2.5-VL at several keep ratios on one device, with PyTorch and transformers alone.

Models of the real shapes with random weights: speed, never quality. For each shape, size of picture and number of
requests, one picture each, it times stock prefill (every visual token), ours at each ratio (encoder, selection,
language model at the original positions), the same with the cut inside the encoder, and the selection by itself. The
ideal beside it is the encoder's own time plus the language model's, each scaled by its operations. No engine takes
part: nothing is scheduled, no cache is filled.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import torch
import transformers
from torch import Tensor
from torch.nn.functional import linear, scaled_dot_product_attention
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLTextConfig, Qwen2_5_VLVisionConfig
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
    Qwen2_5_VisionTransformerPretrainedModel,
    Qwen2_5_VLTextModel,
)

from sppruner_vllm.reduction import DEFAULT_METHOD, ImageTokens, reduce
from sppruner_vllm.reduction.survivors import Survivors, joined, survivors

from .encoder_flops import QWEN2_5_VL_3B, QWEN2_5_VL_7B
from .prefill_flops import DecoderShape, prefill_flops

BEFORE: Final = 15
"""Tokens in front of the picture: about a chat template's."""

QUESTION: Final = 24
AFTER: Final = QUESTION + 5
"""Tokens behind the picture: the question and what closes the turn."""

MERGE: Final = 2
"""Patches that one visual token is wide and high."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A Qwen2.5-VL. depth, vision_hidden, vision_heads, vision_intermediate: of the vision tower.

    whole: its blocks that look at the whole picture. window: side of a window in visual tokens.
    """

    language: DecoderShape
    depth: int = 32
    vision_hidden: int = 1280
    vision_heads: int = 16
    vision_intermediate: int = 3420
    whole: tuple[int, ...] = (7, 15, 23, 31)
    window: int = 4
    tied: bool = False

    def encoder_operations(self, tokens: int, survivors: int, block: int) -> int:
        """Operations of the tower for a picture of N tokens of which some go on behind a block; norms left out.

        The choice of the survivors is left out too.
        """
        patches, left, width = tokens * MERGE**2, survivors * MERGE**2, self.vision_hidden
        total = 2 * patches * width * 3 * 2 * 14**2
        for number in range(self.depth):
            whole, on = number in self.whole, left if block < number < self.whole[-1] else patches
            mixed = patches if whole else on
            attention = 4 * width * (on * patches if whole else patches * self.window**2 * MERGE**2)
            total += 6 * mixed * width**2 + attention + 2 * on * width**2 + 6 * on * width * self.vision_intermediate
        return total + 2 * tokens * MERGE**2 * width * (MERGE**2 * width + self.language.hidden)


SHAPES: Final = {
    "3B": Shape(QWEN2_5_VL_3B, tied=True),
    "7B": Shape(QWEN2_5_VL_7B),
    "tiny": Shape(DecoderShape(64, 2, 4, 2, 16, 96, 200), 4, 32, 2, 48, (1, 3), tied=True),
}
"""Two with the numbers of their published configurations, and one for a test."""


@dataclass(frozen=True, slots=True)
class Work:
    """Prefills to time.

    tokens: N of each picture. images: requests. step: most visual tokens encoded at once.
    cut_block: behind which tokens are dropped, in runs with a cut. cut_survivors: that go on, for each token kept.
    """

    shape: str
    tokens: int
    images: int
    step: int
    cut_block: int
    cut_survivors: float

    @property
    def side(self) -> int:
        return math.isqrt(self.tokens)

    def kept(self, keep_ratio: float) -> int:
        """K of each picture."""
        return min(self.tokens, max(2, math.ceil(self.tokens * keep_ratio - 1e-9)))

    def survivors(self, keep_ratio: float) -> int:
        """Tokens of each picture that go on behind the cut; N where the cut would drop none."""
        return min(self.tokens, math.ceil(self.kept(keep_ratio) * self.cut_survivors))


@dataclass(frozen=True, slots=True)
class Timing:
    """A prefill at one keep ratio.

    survivors: tokens of each picture that go on behind the cut, or None for a whole encoder.
    seconds: of each run. ideal: what it would take if the selection were free and each part as fast as its operations
        are few, from the parts of the same rounds. encoder, language_model: parts of the stock run.
    peak_bytes: most device memory, None on a CPU.
    """

    work: Work
    keep_ratio: float
    kept: int
    survivors: int | None
    seconds: list[float]
    ideal: list[float]
    encoder: list[float]
    language_model: list[float]
    peak_bytes: int | None


class Model:
    """Random weights of one shape, on one device."""

    def __init__(self, shape: Shape, device: torch.device, dtype: torch.dtype) -> None:
        self.shape, self.device, self.dtype = shape, device, dtype
        sizes = shape.language
        text = Qwen2_5_VLTextConfig(
            vocab_size=sizes.vocabulary,
            hidden_size=sizes.hidden,
            intermediate_size=sizes.intermediate,
            num_hidden_layers=sizes.layers,
            num_attention_heads=sizes.heads,
            num_key_value_heads=sizes.kv_heads,
            max_position_embeddings=128_000,
            rope_parameters={
                "rope_type": "default",
                "rope_theta": 1_000_000.0,
                "mrope_section": [
                    sizes.head_width // 8,
                    sizes.head_width * 3 // 16,
                    sizes.head_width // 2 - sizes.head_width // 8 - sizes.head_width * 3 // 16,
                ],
            },
        )
        vision = Qwen2_5_VLVisionConfig(
            depth=shape.depth,
            hidden_size=shape.vision_hidden,
            intermediate_size=shape.vision_intermediate,
            num_heads=shape.vision_heads,
            out_hidden_size=sizes.hidden,
            fullatt_block_indexes=list(shape.whole),
            window_size=shape.window * MERGE * 14,
        )
        with torch.device(device):
            self.tower: Any = Qwen2_5_VisionTransformerPretrainedModel._from_config(vision, dtype=dtype).eval()
            self.language: Any = Qwen2_5_VLTextModel._from_config(text, dtype=dtype, attn_implementation="sdpa").eval()
            head = torch.empty(0 if shape.tied else sizes.vocabulary, sizes.hidden, dtype=dtype)
        table = self.language.embed_tokens.weight
        self.head: Tensor = table if shape.tied else head.normal_(std=0.02)
        self.text_mean = table.mean(0, dtype=torch.float32)

    def encode(self, pixels: Tensor, side: int, survivors: int | None = None, block: int = 0) -> Tensor:
        """(images, N, D) rows in raster order.

        Args:
            pixels: (images, 4 N, C) patches, the four of a token side by side. side: of the pictures, in tokens; a
                multiple of a window's. survivors: tokens of each that go on behind `block`, up to
                the last block that looks at the whole picture; None for all.
        """
        order, back, cos, sin = self._places(side)
        states = self.tower.patch_embed(pixels.flatten(0, 1)).view(len(pixels), side * side, MERGE**2, -1)
        states = states[:, order].flatten(1, 2)
        for number in range(self.shape.depth):
            if survivors is None or not block < number < self.shape.whole[-1]:
                states = self._block(number, states, cos, sin)
            elif number == block + 1:
                states = self._cut(states, cos, sin, survivors, block)
        rows: Tensor = self.tower.merger(states.flatten(0, 1)).view(len(pixels), side * side, -1)
        return rows[:, back]

    def _places(self, side: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Order of the tokens by windows, the way back, and the rotary tables (4 N, head width) in that order."""
        window, count = self.shape.window, side // self.shape.window
        raster = torch.arange(side * side, device=self.device)
        order = raster.view(count, window, count, window).transpose(1, 2).flatten()
        unit = torch.arange(MERGE, device=self.device)
        rows = (order // side * MERGE)[:, None, None] + unit[:, None].expand(MERGE, MERGE)
        columns = (order % side * MERGE)[:, None, None] + unit.expand(MERGE, MERGE)
        width = self.shape.vision_hidden // self.shape.vision_heads // 2
        slow = 10_000.0 ** (-torch.arange(0, width, 2, device=self.device) / width)
        angle = torch.cat([places.flatten()[:, None] * slow for places in (rows, columns)], dim=1).repeat(1, 2)
        return order, order.argsort(), angle.cos().to(self.dtype), angle.sin().to(self.dtype)

    def _block(self, number: int, states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """A block of the tower over all patches, (images, 4 N, F); a window is as long as any other."""
        block = self.tower.blocks[number]
        query, key, value = self._mixed(block, states, cos, sin)
        patches = states.shape[1] if number in self.shape.whole else self.shape.window**2 * MERGE**2
        query, key, value = (part.reshape(-1, patches, *part.shape[2:]) for part in (query, key, value))
        return _left(block, states, _attended(query, key, value))

    def _mixed(self, block: Any, states: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value of a block, (images, P, heads, d) each, turned to their places."""
        query, key, value = (
            block.attn.qkv(block.norm1(states)).unflatten(-1, (3, self.shape.vision_heads, -1)).unbind(2)
        )
        return _turned(query, cos, sin), _turned(key, cos, sin), value

    def _cut(self, states: Tensor, cos: Tensor, sin: Tensor, most: int, block: int) -> Tensor:
        """States of all patches in front of the last block that looks at the whole picture.

        Args:
            states: (images, 4 N, F) behind `block`, where only `most` tokens of each picture go on.
            cos, sin: (4 N, head width).
        """
        tokens = states.shape[1] // MERGE**2
        start = states.unflatten(1, (tokens, -1)).flatten(2)
        left = joined([survivors(picture, most) for picture in start], [tokens] * len(states))
        behind = _Behind(left, start.flatten(0, 1), states.shape)
        own = [table.view(tokens, MERGE**2, -1)[left.kept % tokens].flatten(0, 1) for table in (cos, sin)]
        own = [table.view(len(states), -1, table.shape[-1]) for table in own]
        for number in range(block + 1, self.shape.whole[-1]):
            module = self.tower.blocks[number]
            if number in self.shape.whole:
                query, key, value = self._mixed(module, behind.restored(), cos, sin)
                seen = _attended(behind.of_survivors(query), key, value)
            else:
                seen = behind.in_windows(self._mixed(module, behind.now, *own), self.shape.window**2)
            behind.now = _left(module, behind.now, seen)
        return behind.restored()

    def select(self, rows: Tensor, question: Tensor, side: int, kept: int) -> Tensor:
        """(images, K) int64 tokens that each picture keeps."""
        images = [ImageTokens(image, (side, side), words, kept) for image, words in zip(rows, question, strict=True)]
        return torch.stack([chosen.kept for chosen in reduce(images, DEFAULT_METHOD, text_mean=self.text_mean)])

    def prefill(self, rows: Tensor, text: Tensor, kept: Tensor | None, side: int) -> Tensor:
        """(images, vocabulary) scores of the first answer token.

        Args:
            rows: (images, N, D). text: (images, BEFORE + AFTER, D). kept: (images, K), or None for all.
        """
        if kept is None:
            kept = torch.arange(side * side, device=self.device).expand(len(rows), -1)
        else:
            rows = rows.gather(1, kept.unsqueeze(-1).expand(-1, -1, rows.shape[-1]))
        states = self.language(
            inputs_embeds=torch.cat([text[:, :BEFORE], rows, text[:, BEFORE:]], dim=1),
            position_ids=positions(kept, side),
            use_cache=False,
        ).last_hidden_state
        return linear(states[:, -1], self.head)


def positions(kept: Tensor, side: int) -> Tensor:
    """(3, images, BEFORE + K + AFTER) rotary positions, those that the tokens have in the unreduced prompt.

    Args:
        kept: (images, K) int64 raster indices.
    """
    places = torch.stack([torch.zeros_like(kept), kept // side, kept % side]) + BEFORE
    before = torch.arange(BEFORE, device=kept.device).expand(3, len(kept), -1)
    after = torch.arange(AFTER, device=kept.device).expand(3, len(kept), -1) + BEFORE + side
    return torch.cat([before, places, after], dim=2)


def _turned(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """(images, P, heads, d) turned by the rotary tables, (P, d) or (images, P, d)."""
    left, right = states.chunk(2, dim=-1)
    return states * cos.unsqueeze(-2) + torch.cat([-right, left], dim=-1) * sin.unsqueeze(-2)


class _Behind:
    """Patches behind the cut. now: (images, 4 M, F), the survivors'."""

    def __init__(self, survivors: Survivors, start: Tensor, shape: Sequence[int]) -> None:
        """Args:
        start: (images * N, 4 F) of all tokens at the cut. shape: (images, 4 N, F).
        """
        self._survivors, self._start, self._shape = survivors, start, shape
        self.now = start.index_select(0, survivors.kept).view(shape[0], -1, shape[2])
        present = torch.zeros(len(start), 1, dtype=torch.bool, device=start.device)
        self._present = present.index_fill_(0, survivors.kept, True).expand(-1, MERGE**2)

    def restored(self) -> Tensor:
        """(images, 4 N, F) of all patches as they are now."""
        return self._survivors.restored(self._start, self.now.reshape(-1, self._start.shape[1])).view(*self._shape)

    def of_survivors(self, states: Tensor) -> Tensor:
        """(images, 4 M, ...) of (images, 4 N, ...)."""
        tokens = states.reshape(len(self._start), MERGE**2, *states.shape[2:])
        return tokens.index_select(0, self._survivors.kept).view(len(states), -1, *states.shape[2:])

    def in_windows(self, parts: Sequence[Tensor], window: int) -> Tensor:
        """(images, 4 M, heads, d) that survivors see of the others in their windows of so many tokens.

        Each window keeps its full frame, with the places of the dropped masked: segments of many lengths would need a
        kernel that PyTorch has on some devices only, and the attention of a window costs next to nothing.
        """
        frames = [self._in_frames(part).view(-1, window * MERGE**2, *part.shape[2:]) for part in parts]
        mask = self._present.reshape(-1, 1, 1, window * MERGE**2)
        query, key, value = frames
        seen = _attended(query, key, value, mask)
        return self.of_survivors(seen.reshape(len(parts[0]), -1, *seen.shape[2:]))

    def _in_frames(self, part: Tensor) -> Tensor:
        frame = part.new_zeros(len(self._start), MERGE**2, *part.shape[2:])
        return frame.index_copy_(0, self._survivors.kept, part.reshape(-1, MERGE**2, *part.shape[2:]))


def _attended(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """(S, Q, heads, d) of queries (S, Q, heads, d) that see keys and values (S, P, heads, d)."""
    query, key, value = (part.transpose(1, 2) for part in (query, key, value))
    return scaled_dot_product_attention(query, key, value, attn_mask=mask).transpose(1, 2)


def _left(block: Any, states: Tensor, seen: Tensor) -> Tensor:
    """States (images, P, F) behind a block whose attention has seen (S, Q, heads, d)."""
    states = states + block.attn.proj(seen.reshape(states.shape))
    return states + block.mlp(block.norm2(states))  # type: ignore[no-any-return]


class Bench:
    """Times the prefills of one model."""

    def __init__(self, model: Model, work: Work) -> None:
        self.model, self.work = model, work
        generator = torch.Generator().manual_seed(0)
        device, dtype = model.device, model.dtype
        patches = work.tokens * MERGE**2
        # One picture's pixels for all of them: what is in them costs nothing.
        pixels = torch.randn(1, patches, 3 * 2 * 14**2, generator=generator).to(device, dtype)
        self._pixels = pixels.expand(work.images, -1, -1)
        ids = torch.randint(model.shape.language.vocabulary, (work.images, BEFORE + AFTER), generator=generator)
        self._text = model.language.embed_tokens(ids.to(device))
        at_once = max(1, work.step // work.tokens)
        self._steps = [slice(start, start + at_once) for start in range(0, work.images, at_once)]

    def whole(self, kept: int | None, survivors: int | None = None) -> float:
        """Seconds of all requests' prefill; None keeps every token, and all of them to the encoder's end."""
        return self._timed(lambda: [self._finish(step, self._encode(step, survivors), kept) for step in self._steps])

    def encoder(self) -> float:
        return self._timed(lambda: [self._encode(step) for step in self._steps])

    def language_model(self) -> float:
        """Seconds of the language model's part at ratio 1."""
        rows = self._encode(self._steps[0])
        return self._timed(lambda: [self._finish(step, rows[: len(self._text[step])], None) for step in self._steps])

    def selection(self, kept: int) -> tuple[int, float]:
        """Pictures of a step, and the seconds of selecting among their tokens."""
        rows = self._encode(self._steps[0])
        return len(rows), self._timed(lambda: self._select(self._steps[0], rows, kept))

    def _encode(self, step: slice, survivors: int | None = None) -> Tensor:
        return self.model.encode(self._pixels[step], self.work.side, survivors, self.work.cut_block)

    def _select(self, step: slice, rows: Tensor, kept: int) -> Tensor:
        return self.model.select(rows, self._text[step, BEFORE : BEFORE + QUESTION], self.work.side, kept)

    def _finish(self, step: slice, rows: Tensor, kept: int | None) -> Tensor:
        chosen = None if kept is None else self._select(step, rows, kept)
        return self.model.prefill(rows, self._text[step], chosen, self.work.side)

    def _timed(self, work: Callable[[], Any]) -> float:
        _wait(self.model.device)
        started = time.perf_counter()
        work()
        _wait(self.model.device)
        return time.perf_counter() - started


def time_prefill(model: Model, work: Work, ratios: Sequence[float], rounds: int) -> list[Timing]:
    """Stock, every ratio, and every ratio with a cut in turn, round by round, after a round that does not count."""
    bench = Bench(model, work)
    variants: list[tuple[float, int | None]] = [(ratio, None) for ratio in ratios]
    variants += [(ratio, work.survivors(ratio)) for ratio in ratios if work.survivors(ratio) < work.tokens]
    seconds: dict[tuple[float, int | None], list[float]] = {variant: [] for variant in variants}
    peaks: dict[tuple[float, int | None], int | None] = {}
    encoder, language_model = [], []
    for _ in range(rounds + 1):
        for ratio, left in variants:
            _forget_peak(model.device)
            seconds[ratio, left].append(bench.whole(None if ratio >= 1 else work.kept(ratio), left))
            peaks[ratio, left] = _peak(model.device)
        encoder.append(bench.encoder())
        language_model.append(bench.language_model())
    encoder, language_model = encoder[1:], language_model[1:]
    found = []
    for (ratio, left), runs in seconds.items():
        kept = work.kept(ratio)
        first, second = _share_of_encoder(model, work, left), _operations(model, kept) / _operations(model, work.tokens)
        ideal = [first * one + second * other for one, other in zip(encoder, language_model, strict=True)]
        peak = peaks[ratio, left]
        found.append(Timing(work, ratio, kept, left, runs[1:], ideal, encoder, language_model, peak))
    return found


def _share_of_encoder(model: Model, work: Work, survivors: int | None) -> float:
    tokens, shape = work.tokens, model.shape
    if survivors is None:
        return 1.0
    cut = shape.encoder_operations(tokens, survivors, work.cut_block)
    return cut / shape.encoder_operations(tokens, tokens, work.cut_block)


def _operations(model: Model, visual: int) -> int:
    return prefill_flops(model.shape.language, BEFORE + visual + AFTER)


def time_selection(model: Model, work: Work, ratios: Sequence[float], rounds: int) -> Iterator[dict[str, Any]]:
    """The selection by itself, at each ratio below 1."""
    bench = Bench(model, work)
    for ratio in ratios:
        if ratio >= 1:
            continue
        kept = work.kept(ratio)
        images = bench.selection(kept)[0]
        runs = [bench.selection(kept)[1] for _ in range(rounds)]
        yield {**asdict(work), "images": images, "keep_ratio": ratio, "kept": kept, **_summary(runs)}


def _summary(seconds: Sequence[float]) -> dict[str, Any]:
    return {"median": statistics.median(seconds), "min": min(seconds), "max": max(seconds), "seconds": list(seconds)}


def _told(timing: Timing, stock: Timing) -> dict[str, Any]:
    to_stock = [one / other for one, other in zip(timing.seconds, stock.seconds, strict=True)]
    to_ideal = [one / other for one, other in zip(timing.seconds, timing.ideal, strict=True)]
    return {
        **asdict(timing.work),
        "keep_ratio": timing.keep_ratio,
        "kept": timing.kept,
        "survivors": timing.survivors,
        **_summary(timing.seconds),
        "over_stock": statistics.median(to_stock),
        "over_ideal": statistics.median(to_ideal),
        "ideal": timing.ideal,
        "encoder": timing.encoder,
        "language_model": timing.language_model,
        "peak_bytes": timing.peak_bytes,
    }


def measure(
    shapes: Sequence[str],
    sizes: Sequence[int],
    images: Sequence[int],
    ratios: Sequence[float],
    *,
    rounds: int,
    step: int,
    cut_block: int,
    cut_survivors: float,
    device: torch.device,
    dtype: torch.dtype,
) -> dict[str, Any]:
    """Everything, ready for JSON; what does not fit into the device's memory is named as skipped."""
    prefill: list[dict[str, Any]] = []
    selection: list[dict[str, Any]] = []
    skipped: list[dict[str, Any]] = []
    ratios = sorted({1.0, *ratios}, reverse=True)
    for name in shapes:
        try:
            model = Model(SHAPES[name], device, dtype)
        except torch.OutOfMemoryError:
            skipped.append({"shape": name, "reason": "out of memory: weights"})
            _release(device)
            continue
        for tokens in sizes:
            for count in images:
                work = Work(name, tokens, count, step, cut_block, cut_survivors)
                try:
                    with torch.inference_mode():
                        timings = time_prefill(model, work, ratios, rounds)
                        selection += time_selection(model, work, ratios, rounds)
                    prefill += [_told(timing, timings[0]) for timing in timings]
                except torch.OutOfMemoryError:
                    skipped.append({**asdict(work), "reason": "out of memory"})
                _release(device)
        del model
        _release(device)
    return {"facts": _facts(device, dtype), "prefill": prefill, "selection": selection, "skipped": skipped}


def _facts(device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    gpu = device.type == "cuda"
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "device": torch.cuda.get_device_name(device)
        if gpu
        else f"{platform.machine()}, {torch.get_num_threads()} threads",
        "memory_bytes": torch.cuda.get_device_properties(device).total_memory if gpu else None,
        "dtype": str(dtype).removeprefix("torch."),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "method": DEFAULT_METHOD,
        "weights": "random: speed, never quality",
    }


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _forget_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def _peak(device: torch.device) -> int | None:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


def _release(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-gpu", description=__doc__)
    parser.add_argument("--shapes", nargs="+", choices=sorted(SHAPES), default=["3B", "7B"])
    parser.add_argument("--tokens", nargs="+", type=int, default=[1296, 4096], help="of a picture: squares")
    parser.add_argument("--images", nargs="+", type=int, default=[1, 8, 32], help="requests, one picture each")
    parser.add_argument("--keep-ratios", nargs="+", type=float, default=[1.0, 0.333, 0.222, 0.111])
    parser.add_argument("--rounds", type=int, default=5, help="counted ones, after one that is not")
    parser.add_argument("--step", type=int, default=16384, help="most visual tokens that are encoded at once")
    parser.add_argument("--cut-block", type=int, default=7, help="behind which tokens are dropped, in runs with a cut")
    parser.add_argument("--cut-survivors", type=float, default=2.0, help="tokens that go on, for each token kept")
    parser.add_argument("--out", type=Path, default=Path(".cache/bench-gpu.json"))
    options = parser.parse_args()
    gpu = torch.cuda.is_available()
    found = measure(
        options.shapes,
        options.tokens,
        options.images,
        options.keep_ratios,
        rounds=options.rounds,
        step=options.step,
        cut_block=options.cut_block,
        cut_survivors=options.cut_survivors,
        device=torch.device("cuda" if gpu else "cpu"),
        dtype=torch.bfloat16 if gpu else torch.float32,
    )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(found, indent=2))
    print(f"{options.out}: {len(found['prefill'])} prefills, {len(found['skipped'])} skipped")


if __name__ == "__main__":
    main()
