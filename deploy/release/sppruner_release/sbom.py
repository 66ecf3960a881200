"""The bill of materials: CycloneDX 1.6 in JSON, of every locked package, with licences and who needs whom.

Scope `required` is what serving on a CPU needs and the CPU image carries; `excluded` is what only tests, tools,
training and load tests need.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

from .licences import licence
from .locks import COMPLETE, PROJECT, SHIPPED, installed, locked, needs

SCHEMA: Final = SchemaVersion.V1_6


class NotValid(ValueError):
    """What came out is no CycloneDX document."""


def sbom(root: Path, version: str, epoch: int) -> str:
    """The document's text, the same for the same commit and environment.

    Args:
        version: of this project.
        epoch: seconds since 1970 that the document is dated.

    Raises:
        NotInstalled: a locked package is not installed as locked, so that its licence cannot be read.
        NotValid: the document breaks the schema.
    """
    locks, shipped = locked(root / COMPLETE), locked(root / SHIPPED)
    ours = _component(canonicalize_name(PROJECT), version, "Apache-2.0", ComponentScope.REQUIRED, main=True)
    components = {
        name: _third_party(name, pinned, ComponentScope.REQUIRED if name in shipped else ComponentScope.EXCLUDED)
        for name, pinned in locks.items()
    }
    bom = Bom(
        components=components.values(),
        metadata=BomMetaData(component=ours, timestamp=datetime.fromtimestamp(epoch, UTC)),
    )
    for name, needed in needs(components).items():
        bom.register_dependency(components.get(name, ours), [components[other] for other in sorted(needed)])
    content = (root / COMPLETE).read_text() + (root / SHIPPED).read_text() + str(ours.purl)
    bom.serial_number = uuid.uuid5(uuid.NAMESPACE_URL, content)
    text = make_outputter(bom, OutputFormat.JSON, SCHEMA).output_as_string(indent=2)
    if (problem := JsonStrictValidator(SCHEMA).validate_str(text)) is not None:
        raise NotValid(str(problem).partition("\n")[0])
    return text + "\n"


def _third_party(name: NormalizedName, pinned: Version, scope: ComponentScope) -> Component:
    package = installed(name, pinned)
    return _component(name, package.version, licence(package), scope)


def _component(
    name: NormalizedName, version: str, expression: str, scope: ComponentScope, *, main: bool = False
) -> Component:
    url = PackageURL("pypi", name=name, version=version)
    return Component(
        name=name,
        version=version,
        type=ComponentType.APPLICATION if main else ComponentType.LIBRARY,
        bom_ref=str(url),
        purl=url,
        scope=None if main else scope,
        licenses=[LicenseFactory().make_from_string(expression)],
    )
