"""Lets the CUDA build of torchvision be imported beside CPU torch; copied into the environment by setup_env.py.

Works around torchvision 0.28 registering fake kernels for operators (`torchvision::nms`, `torchvision::qnms`) that do
not exist when its native library cannot load. Delete once `torchvision` on PyPI imports beside a CPU build of torch.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Final

# The first modules that torchvision imports after it has tried to load its native library.
REGISTRATIONS: Final = ("torchvision._autograd_registrations", "torchvision._meta_registrations")

SCHEMAS: Final = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)

_keep_alive: list[object] = []  # torch drops a library's definitions together with the object


def define_missing_operators() -> None:
    """Declare the two operators, unless torchvision's native library brought them or an earlier call did."""
    extension = sys.modules.get("torchvision.extension")
    if _keep_alive or extension is None or extension._has_ops():
        return
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in SCHEMAS:
        if not hasattr(torch.ops.torchvision, schema.partition("(")[0]):
            library.define(schema)
    _keep_alive.append(library)


class BeforeRegistrations:
    """Import hook that finds nothing itself: it acts on the way to the real finders, and costs nothing before that."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name in REGISTRATIONS:
            define_missing_operators()
        return None


def install() -> None:
    """Put the hook first in line, once per process."""
    if not any(finder is BeforeRegistrations for finder in sys.meta_path):
        sys.meta_path.insert(0, BeforeRegistrations)


install()
