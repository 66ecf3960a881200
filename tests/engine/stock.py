"""Puts the stock-parity cases to vLLM and writes its answers: run in a process of its own, with plugins off."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from cases import STOCK
from engines import ask, ask_about_video, start_engine

if __name__ == "__main__":
    model, out = Path(sys.argv[1]), Path(sys.argv[2])
    llm = start_engine(model)
    (module,) = llm.apply_model(lambda model: type(model).__module__)
    answers = [
        {"tokens": a.tokens, "prompt": a.prompt, "model_class": module}
        for a in [*ask(llm, list(STOCK)), ask_about_video(llm)]
    ]
    out.write_text(json.dumps(answers))
