"""What is compared: engines, told apart by their settings, and arms, told apart by the fields of their requests.

One line adds one. What names a setting or a field that this version does not have is left out of a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sppruner_vllm.request.fields import REQUEST_FIELDS
from sppruner_vllm.settings import Settings


@dataclass(frozen=True, slots=True)
class Engine:
    """One engine process.

    plugin: whether our plugin is loaded. settings: of `Settings`, by name; all others have their defaults.
    """

    name: str
    plugin: bool = True
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """What its process needs in its environment."""
        if not self.plugin:
            return {"VLLM_PLUGINS": ""}
        given = {"allow_method": "1", "min_keep_ratio": "0.01", **self.settings}
        return {"VLLM_PLUGINS": "sppruner"} | {f"SPPRUNER_{name.upper()}": value for name, value in given.items()}


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to put the same requests.

    fields: of the request. under_load: asked with many users too, which takes long.
    """

    name: str
    engine: Engine
    fields: Mapping[str, Any] = field(default_factory=dict)
    under_load: bool = False

    @property
    def keep_ratio(self) -> float:
        ratio: float = self.fields.get("keep_ratio", 1.0)
        return ratio


STOCK: Final = Engine("stock", plugin=False)
_OFF: Final = {
    "rows_cache_mib": "0",
    "pixels_cache_mib": "0",
    "encoder_cut": "0",
    "skip_repeats": "0",
    "focus_scope": "question",
    "throughput_guard": "0",
}
"""Switches of this version that change what is computed, all off."""

PLAIN: Final = Engine("switches off", settings=_OFF)
KEPT: Final = Engine("rows kept", settings={**_OFF, "rows_cache_mib": "128", "pixels_cache_mib": "128"})
CUT: Final = Engine("encoder cut", settings={**_OFF, "encoder_cut": "1.5", "encoder_cut_block": "3"})
DEFAULT: Final = Engine("as served", settings={})

REFERENCE: Final = Arm("stock vLLM", STOCK, under_load=True)
ARMS: Final = (
    REFERENCE,
    Arm("keep 1", PLAIN, {"keep_ratio": 1.0}, under_load=True),
    Arm("keep 0.5", PLAIN, {"keep_ratio": 0.5}),
    Arm("keep 0.222", PLAIN, {"keep_ratio": 0.222}, under_load=True),
    Arm("keep 0.111", PLAIN, {"keep_ratio": 0.111}),
    Arm("downscale 0.222", PLAIN, {"keep_ratio": 0.222, "reduction_method": "downscale"}, under_load=True),
    Arm("image scope 0.222", PLAIN, {"keep_ratio": 0.222, "focus_scope": "image"}),
    Arm("auto scope 0.222", KEPT, {"keep_ratio": 0.222, "focus_scope": "auto"}),
    Arm("rows kept 0.222", KEPT, {"keep_ratio": 0.222}),
    Arm("encoder cut 0.222", CUT, {"keep_ratio": 0.222}, under_load=True),
    Arm("as served 0.222", DEFAULT, {"keep_ratio": 0.222}, under_load=True),
)


def runnable(arms: Iterable[Arm] = ARMS) -> list[Arm]:
    """The arms whose settings and fields this version has; a switch that it lacks and that is off is no obstacle."""
    return [arm for arm in arms if not missing(arm)]


def missing(arm: Arm) -> list[str]:
    """Switches that an arm needs and this version does not have."""
    settings = [name for name, value in arm.engine.settings.items() if value != _OFF.get(name)]
    return [name for name in settings if name not in Settings.model_fields] + [
        name for name in arm.fields if name not in REQUEST_FIELDS
    ]


def engines_of(arms: Sequence[Arm]) -> list[Engine]:
    """Each engine once, in the order of the arms."""
    return list({arm.engine.name: arm.engine for arm in arms}.values())
