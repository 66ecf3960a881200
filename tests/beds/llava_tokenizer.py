"""A tokenizer that cuts text as LLaMA's SentencePiece model does, with whole words of the demo's list.

What a turn finder must cope with: a blank belongs to the word after it, so the pieces of "USER:" and "ASSISTANT:"
differ with what stands before them; both are several pieces; a line break is a byte.
"""

from __future__ import annotations

from typing import Final

from transformers import LlamaTokenizer

from sppruner_vllm.demo.tokenizer import derive_merges
from sppruner_vllm.demo.words import LINE_STARTS, WORDS

BLANK: Final = "\u2581"  # how SentencePiece spells a blank
IMAGE: Final = "<image>"
PAD: Final = "<pad>"

_SPECIAL: Final = ("<unk>", "<s>", "</s>")
_ROLES: Final = [
    *((BLANK, "U"), (BLANK + "U", "S"), ("U", "S"), ("E", "R")),
    *((BLANK, "A"), ("S", "S"), ("I", "S"), ("IS", "T"), ("A", "N"), ("AN", "T"), ("A", "SS")),
]
"""Merges that give the pieces LLaMA's own model has: (▁US|US) ER : and (▁A SS|ASS) IST ANT :."""


def build_llava_tokenizer(longest: int, *, legacy: bool = True) -> LlamaTokenizer:
    """The tokenizer, in the class that LLaVA-1.5 ships with.

    Args:
        longest: longest prompt, in tokens, before transformers warns.
        legacy: whether every stretch of text after a special token begins with a blank, as in LLaVA-1.5's first
            tokenizer files; without it only the first stretch does.
    """
    words = [*(BLANK + word for word in (*LINE_STARTS, *WORDS)), *LINE_STARTS]
    merges = [*_ROLES, *derive_merges(words)]
    letters = [chr(code) for code in range(33, 127)]
    pieces = dict.fromkeys([BLANK, *letters, *(left + right for left, right in merges)])
    vocab = [*_SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), *pieces]
    tokenizer = LlamaTokenizer(
        vocab={piece: index for index, piece in enumerate(vocab)},
        merges=merges,
        legacy=legacy,
        pad_token=PAD,
        add_bos_token=True,
        model_max_length=longest,
    )
    tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE]})
    return tokenizer


def spoken_ids(tokenizer: LlamaTokenizer) -> list[int]:
    """Ids of the pieces that are a whole word with the blank before it."""
    vocabulary = tokenizer.get_vocab()
    return [vocabulary[BLANK + word] for word in WORDS]
