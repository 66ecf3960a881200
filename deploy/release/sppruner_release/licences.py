"""Under which licence a package is, as SPDX names it, and whether that asks for more than a copy of its text.

Packages state it in three ways, the last two in words of their own. `LicenseRef-` is SPDX's prefix for what it has no
name for.
"""

from __future__ import annotations

from importlib.metadata import Distribution
from typing import Final

from license_expression import ExpressionError, LicenseWithExceptionSymbol, get_spdx_licensing
from packaging.utils import canonicalize_name

_LOOSE: Final = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Apache 2.0 License": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD": "LicenseRef-BSD",
    "BSD License": "LicenseRef-BSD",
    "BSD-derived (http://www.repoze.org/LICENSE.txt)": "LicenseRef-BSD",
    "ISC License (ISCL)": "ISC",
    "Intel End User License Agreement for Developer Tools": "LicenseRef-Intel-EULA",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
}
_SILENT: Final = {"oss-harmony": "Apache-2.0", "setuptools": "MIT"}
"""Packages whose metadata says nothing: read in their licence files."""

_PERMISSIVE: Final = {
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CNRI-Python",
    "ISC",
    "LicenseRef-BSD",
    "MIT",
    "MIT-0",
    "MIT-CMU",
    "PSF-2.0",
    "Unlicense",
}
_CLASSIFIER: Final = "License :: "
_SPDX: Final = get_spdx_licensing()


class UnknownLicence(LookupError):
    """A package states its licence in words that this module does not know yet."""


def licence(package: Distribution) -> str:
    """An SPDX expression for the package's licence.

    Raises:
        UnknownLicence: it has to be looked up and added here.
    """
    metadata = package.metadata
    if expression := metadata["License-Expression"]:
        return expression
    if (silent := _SILENT.get(canonicalize_name(package.name))) is not None:
        return silent
    text = metadata["License"] or ""
    classifiers = [line for line in metadata.get_all("Classifier") or () if line.startswith(_CLASSIFIER)]
    words = text.strip().splitlines()[:1]  # some put the whole text there, under its name
    words += [" OR ".join(_spdx(line.split(" :: ")[-1]) for line in classifiers)]
    for word in words:
        if _is_spdx(found := _spdx(word)):
            return found
    raise UnknownLicence(f"{package.name} states its licence as {words}: name it in {__name__}")


def is_permissive(expression: str) -> bool:
    """Whether every licence of an expression asks for no more than that its text and notices go along."""
    symbols = _SPDX.license_symbols(expression, unique=True, decompose=False)
    bases = [symbol.license_symbol if isinstance(symbol, LicenseWithExceptionSymbol) else symbol for symbol in symbols]
    return all(base.key in _PERMISSIVE for base in bases)


def _spdx(words: str) -> str:
    return _LOOSE.get(words, words)


def _is_spdx(expression: str) -> bool:
    if not expression:
        return False
    try:
        unknown = _SPDX.unknown_license_keys(expression)
    except ExpressionError:
        return False
    return all(key.startswith("LicenseRef-") for key in unknown)
