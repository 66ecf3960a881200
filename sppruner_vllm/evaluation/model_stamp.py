"""Tells two states of a model's folder apart, so that a retrained model is never answered for by its predecessor."""

from __future__ import annotations

import hashlib
from pathlib import Path


def model_stamp(model: str) -> str:
    """Digest of the weight files' names, sizes and times; empty for a model that is no folder here."""
    if not model or not (folder := Path(model)).is_dir():
        return ""
    files = sorted(path for path in folder.iterdir() if path.suffix in (".safetensors", ".json", ".jinja"))
    facts = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
