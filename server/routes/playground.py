"""`/playground`: one page to try the server with, its style, its scripts and a picture, all as files of this package.

The page holds nothing that is secret and asks the API like any client. Where keys are asked for it is behind them too
(middleware/authentication.py).
"""

from __future__ import annotations

from functools import cache
from html import escape
from importlib.resources import files
from typing import Final

from fastapi import APIRouter, HTTPException
from fastapi.responses import Response

from sppruner_vllm.demo_model.picture import PICTURE
from sppruner_vllm.settings import settings

from ..playground import PATH

PAGE: Final = "index.html"
SCENE: Final = "scene.png"
LINKS: Final = b"<!-- links -->"
"""Place in the page for what the operator's settings add."""

DASHBOARD: Final = "/d/sppruner-visual-tokens"
"""Of the dashboard "Visual tokens", in any Grafana (deploy/grafana/sppruner_dashboards)."""

TYPES: Final = {".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript", ".png": "image/png"}

HEADERS: Final = {
    "content-security-policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' blob:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}

router: Final = APIRouter()


@router.get(PATH, response_class=Response)
async def page() -> Response:
    """The page itself."""
    return _answer(PAGE, parts()[PAGE].replace(LINKS, _links(settings().grafana_url).encode()))


@router.get(f"{PATH}/{{name}}", response_class=Response)
async def part(name: str) -> Response:
    """What the page loads.

    Raises:
        HTTPException: there is no such part.
    """
    if name not in parts() or name == PAGE:
        raise HTTPException(404)
    return _answer(name, parts()[name])


@cache
def parts() -> dict[str, bytes]:
    """Every file of the page, by name."""
    folder = files(__package__.rpartition(".")[0]) / "playground" / "static"
    found = {file.name: file.read_bytes() for file in folder.iterdir() if f".{file.name.rpartition('.')[2]}" in TYPES}
    return {**found, SCENE: PICTURE.read_bytes()}


def _answer(name: str, content: bytes) -> Response:
    kind = TYPES[f".{name.rpartition('.')[2]}"]
    return Response(content, media_type=kind, headers=HEADERS)


def _links(grafana: str) -> str:
    """HTML of the page's links elsewhere; none without the address of a Grafana."""
    if not grafana:
        return ""
    address = escape(grafana.rstrip("/") + DASHBOARD)
    return f'<a id="grafana" href="{address}" target="_blank" rel="noopener noreferrer">Dashboards</a>'
