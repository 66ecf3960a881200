"""Byte-level BPE tokenizer of the demo model: every byte, some whole words, Qwen2.5-VL's special tokens.

Merges are derived from the word list, not trained: the same list gives the same file on any machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from tokenizers import pre_tokenizers
from transformers import Qwen2TokenizerFast

from .words import LINE_STARTS, WORDS

SPACE: Final = "\u0120"  # how byte-level BPE spells a leading blank
SPECIAL_TOKENS: Final = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)

Pair = tuple[str, str]


def _encode(word: str, ranks: dict[Pair, int]) -> list[str]:
    """The symbols that BPE makes of `word`: the lowest-ranked adjacent pair merges first, until none is left."""
    symbols = list(word)
    while True:
        known = [pair for pair in pairwise(symbols) if pair in ranks]
        if not known:
            return symbols
        best = min(known, key=ranks.__getitem__)
        merged, position = [], 0
        while position < len(symbols):
            if tuple(symbols[position : position + 2]) == best:
                merged.append(best[0] + best[1])
                position += 2
            else:
                merged.append(symbols[position])
                position += 1
        symbols = merged


def derive_merges(words: Sequence[str]) -> list[Pair]:
    """Merges, in rank order, under which every word of `words` becomes a single token.

    A later word only adds higher ranks, so it cannot break an earlier one.
    """
    ranks: dict[Pair, int] = {}
    for word in words:
        while len(symbols := _encode(word, ranks)) > 1:
            ranks[symbols[0], symbols[1]] = len(ranks)
    return list(ranks)


def build_tokenizer(max_length: int) -> Qwen2TokenizerFast:
    """The tokenizer, in the class Qwen2.5-VL ships with.

    Args:
        max_length: longest prompt, in tokens, before transformers warns.
    """
    merges = derive_merges([*LINE_STARTS, *(SPACE + word for word in WORDS)])
    pieces = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *dict.fromkeys(left + right for left, right in merges)]
    tokenizer = Qwen2TokenizerFast(
        vocab={piece: index for index, piece in enumerate(pieces)},
        merges=merges,
        unk_token=None,
        eos_token=SPECIAL_TOKENS[2],
        pad_token=SPECIAL_TOKENS[0],
        model_max_length=max_length,
    )
    tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIAL_TOKENS)})
    return tokenizer


def word_ids(tokenizer: Qwen2TokenizerFast) -> list[int]:
    """Ids of the tokens that are a whole word with the blank before it."""
    vocabulary = tokenizer.get_vocab()
    return [vocabulary[SPACE + word] for word in WORDS]
