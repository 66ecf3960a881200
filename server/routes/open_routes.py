"""Which of vLLM's routes are served: those of an API that a server on the internet has, and what the operator adds.

vLLM's server also has routes for its operator: scaling, weights, profiles, sleep, LoRA adapters, the parts of a
disaggregated server. Whoever has a key could call them. What is not listed here is taken away, so that it is neither
routed nor documented.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

SERVED: Final = frozenset(
    {
        # Probes, and what is there. `/metrics` is a mount too.
        "/health",
        "/livez",
        "/readyz",
        "/ping",
        "/metrics",
        "/playground",
        "/playground/{name}",
        "/version",
        "/load",
        "/openapi.json",
        "/docs",
        "/docs/oauth2-redirect",
        "/redoc",
        "/v1/models",
        "/v1/models/{model_id}",
        "/v1/models/{model_id:path}",
        # Generation.
        "/v1/chat/completions",
        "/v1/chat/completions/batch",
        "/v1/completions",
        "/v1/responses",
        "/v1/responses/{response_id}",
        "/v1/responses/{response_id}/cancel",
        "/v1/messages",
        "/v1/messages/count_tokens",
        "/v1/visual-tokens",
        "/invocations",
        "/tokenize",
        "/detokenize",
        # Models that do something else besides.
        "/v1/audio/transcriptions",
        "/v1/audio/translations",
        "/v1/realtime",
        "/v1/embeddings",
        "/embeddings",
        "/v2/embed",
        "/classify",
        "/pooling",
        "/score",
        "/v1/score",
        "/rerank",
        "/v1/rerank",
        "/v2/rerank",
    }
)
"""Path templates, as the routes spell them."""

ALL: Final = "*"


def opened(listed: str) -> frozenset[str]:
    """The operator's list of further path templates."""
    return frozenset(path.strip() for path in listed.split(",") if path.strip())


def divide(routes: Sequence[Any], further: frozenset[str]) -> tuple[list[Any], list[str]]:
    """The routes to serve, and the paths of those that are closed.

    Args:
        routes: of the app. further: what the operator opens.
    """
    if ALL in further:
        return list(routes), []
    paths = [str(getattr(route, "path", route)) for route in routes]
    served = SERVED | further
    stay = [route for route, path in zip(routes, paths, strict=True) if path in served]
    return stay, sorted(set(paths) - served)
