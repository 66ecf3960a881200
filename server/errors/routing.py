"""What the routes of the app say about a path."""

from __future__ import annotations

from starlette.routing import Match
from starlette.types import Scope


def allowed_methods(scope: Scope) -> list[str]:
    """The methods that some route takes at the path of a request, in alphabetical order."""
    methods: set[str] = set()
    for route in scope["app"].routes:
        match, _ = route.matches(scope)
        if match is not Match.NONE:
            methods |= getattr(route, "methods", None) or set()
    # Wherever GET is, HEAD is answered too (middleware/head.py).
    return sorted(methods | ({"HEAD"} if "GET" in methods else set()))
