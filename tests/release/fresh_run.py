"""Run by test_release.py with the Python of a fresh environment: stock vLLM asks the demo model, both as installed.

`python fresh_run.py RESULT` writes what it saw as JSON.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import distributions, entry_points
from pathlib import Path


def main(result: Path) -> None:
    from PIL import Image
    from vllm import LLM, SamplingParams

    import sppruner_vllm
    from sppruner_vllm.demo_model import CHECKPOINT
    from sppruner_vllm.demo_model.picture import PICTURE, QUESTIONS

    question, right = QUESTIONS[0]
    engine = LLM(model=str(CHECKPOINT), dtype="float32", max_model_len=2048, block_size=32, enforce_eager=True)
    image = {"type": "image_pil", "image_pil": Image.open(PICTURE)}
    chat = [{"role": "user", "content": [image, {"type": "text", "text": question}]}]
    asked = SamplingParams(max_tokens=8, temperature=0)
    answers = {}
    for ratio in (1, 0.222):
        (answer,) = engine.chat(chat, asked, mm_processor_kwargs={"keep_ratio": ratio}, use_tqdm=False)
        answers[ratio] = (len(answer.prompt_token_ids), answer.outputs[0].text.strip())
    api = next(point for point in entry_points(group="vllm.endpoint_plugins") if point.name == "sppruner_api")
    seen = {
        "package": sppruner_vllm.__file__,
        "server": sys.modules[api.load().__module__].__file__,
        "installed": [str(found.locate_file("")) for found in distributions() if found.name == "sppruner-vllm"],
        "path": sys.path,
        "full": answers[1],
        "reduced": answers[0.222],
        "right": right,
    }
    result.write_text(json.dumps(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
