"""The bundled demo model: its checkpoint, the flags that serve it on a CPU, and a picture to ask it about.

All that runs without the demo: a container without a model of its own serves this one. How it was made is in demo/.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

CHECKPOINT: Final = Path(__file__).with_name("checkpoint")
"""Folder that vLLM and transformers load."""
