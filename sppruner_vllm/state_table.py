"""`python -m sppruner_vllm.state_table`: makes the table of a checkpoint that `--state-table` takes.

What the first layers of its language model make of each token of the vocabulary, read alone: for language models whose
layers a worker cannot run apart from the engine. Once per checkpoint; on a GPU it takes about as long as loading it.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any

import torch
from rich.progress import track
from torch import Tensor
from transformers import AutoConfig, AutoModelForImageTextToText, AutoTokenizer

from .families import ARCHITECTURES
from .reading.captions import CAPTIONS, layers_read
from .reading.token_table import TokenTable, probed


def build(model: str, depth: float, *, batch: int = 1024, device: str = "cpu") -> TokenTable:
    """The table of a checkpoint.

    Args:
        model: folder or hub name. depth: share of the language model's layers, above 0 and below 1.
        batch: tokens that are read at a time.

    Raises:
        KeyError: its architecture is none of ours.
    """
    config = AutoConfig.from_pretrained(model)
    lead = _family(config).lead
    loaded: Any = AutoModelForImageTextToText.from_pretrained(model, dtype=config.dtype).eval()
    language = loaded.model.language_model
    layers = layers_read(depth, len(language.layers))
    language.to(device)
    size = language.config.vocab_size
    parts = torch.arange(size, device=device).split(batch)
    states = torch.cat([_read(language, part, lead, layers) for part in track(parts, "reading tokens")])
    tokenizer = AutoTokenizer.from_pretrained(model)
    spoken = [token for text in CAPTIONS for token in tokenizer.encode(text, add_special_tokens=False)]
    probes = language.get_input_embeddings().weight[torch.tensor(probed(size), device=device)]
    return TokenTable(
        states.to(torch.bfloat16).cpu(), states[spoken].mean(0).cpu(), probes.detach().float().cpu(), layers
    )


@torch.inference_mode()
def _read(language: Any, tokens: Tensor, lead: tuple[int, ...], layers: int) -> Tensor:
    """(B, D) float32 states of tokens behind so many layers, each behind the lead."""
    before = torch.tensor(lead, dtype=torch.int64, device=tokens.device).expand(len(tokens), -1)
    ids = torch.cat((before, tokens.unsqueeze(1)), dim=1)
    embedded = language.get_input_embeddings()(ids)
    read: Tensor = language(inputs_embeds=embedded, use_cache=False, output_hidden_states=True).hidden_states[layers]
    return read[:, -1].float()


def _family(config: Any) -> Any:
    module = importlib.import_module(ARCHITECTURES[config.architectures[0]])
    return vars(module)[config.architectures[0]].family_of(config)


def main(arguments: list[str] | None = None) -> int:
    """Make a table. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m sppruner_vllm.state_table", description=__doc__)
    parser.add_argument("model", help="folder or hub name of the checkpoint")
    parser.add_argument("out", type=Path, help="the file to write")
    parser.add_argument("--depth", type=_share, default=0.4, help="share of the layers; default: %(default)s")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="default: %(default)s")
    options = parser.parse_args(arguments)
    table = build(options.model, options.depth, device=options.device)
    table.save(options.out)
    size = options.out.stat().st_size / 2**20
    print(f"{options.out}: {len(table.states)} tokens behind {table.layers} layers, {size:.0f} MiB")
    return 0


def _share(text: str) -> float:
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"must be above 0 and below 1, got {text}")
    return value


if __name__ == "__main__":
    sys.exit(main())
