"""The blocks of code on docs/use/clients.md, as a reader would run them."""

from __future__ import annotations

import io
import math
import random
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from PIL import Image
from tried import Endpoint

PAGE: Final = Path(__file__).parents[2] / "docs" / "use" / "clients.md"
BLOCK: Final = re.compile(r"<!-- run: (\S+) -->\n```\w+\n(.*?)^```$", re.DOTALL | re.MULTILINE)
ORIGINAL: Final = 144
"""Visual tokens of the picture on Qwen2.5-VL: more than those of a picture that `auto` leaves whole."""

SECONDS: Final = 600
_NUMBERS: Final = re.compile(r"\d+(?:\.\d+)?")


def snippets() -> dict[str, str]:
    """Each block, by the name of the file to run."""
    return dict(BLOCK.findall(PAGE.read_text()))


def written(name: str, words: Mapping[str, str], folder: Path) -> Path:
    """A block as a file of the folder.

    Args:
        name: of the file. words: of the page, each with what stands for it here.
    """
    code = snippets()[name]
    for word, value in words.items():
        assert word in code
        code = code.replace(word, value)
    file = folder / name
    file.write_text(code)
    return file


def words_of(endpoint: Endpoint) -> dict[str, str]:
    """What the page calls the server, its model and the key."""
    return {"http://localhost:8000": endpoint.url, "my-model": endpoint.model, "my-key": endpoint.key or "none"}


def run_snippet(name: str, command: Sequence[str], words: Mapping[str, str], folder: Path) -> None:
    """Run a block in a folder, and look at what it says of its two requests.

    Args:
        name: of the file. command: that takes it as its last argument. words: as above. folder: to run it in.
    """
    written(name, words, folder)
    (folder / "picture.png").write_bytes(_picture())
    run = subprocess.run(
        [*command, name], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SECONDS
    )
    assert run.returncode == 0, run.stdout
    told = [found for line in run.stdout.splitlines() if len(found := _NUMBERS.findall(line)) == 3]
    assert len(told) == 2, run.stdout
    (original, retained, ratio), fitting = told
    assert (int(original), int(retained), float(ratio)) == (ORIGINAL, ORIGINAL // 4, 0.25)
    assert int(fitting[0]) == ORIGINAL
    assert int(fitting[1]) == math.ceil(ORIGINAL * float(fitting[2]) - 1e-9)
    assert 0.15 <= float(fitting[2]) <= 0.6


def _picture() -> bytes:
    noise = Image.frombytes("RGB", (16, 16), random.Random(3).randbytes(16 * 16 * 3)).resize((336, 336))
    buffer = io.BytesIO()
    noise.save(buffer, "PNG")
    return buffer.getvalue()
