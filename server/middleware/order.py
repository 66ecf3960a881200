"""Which middleware stands where. The list is read from the outside in; each entry says why it stands there.

All of them stand outside vLLM's own, of which three go: ours take over the key, the request id and CORS.
"""

from __future__ import annotations

from typing import Any

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from sppruner_vllm.settings import Settings

from .. import headers
from ..keys.rates import SharedRates
from ..keys.ring import KeyRing
from ..lifecycle.drain import InFlight
from .access_log import AccessLogMiddleware
from .authentication import AuthenticationMiddleware
from .body import BodyMiddleware
from .capacity import CapacityMiddleware
from .connections import ConnectionsMiddleware
from .drain import DrainMiddleware
from .early_answer import EarlyAnswerMiddleware
from .head import HeadMiddleware
from .host import HostMiddleware
from .metrics_methods import MetricsMethodsMiddleware
from .rates import RateMiddleware
from .redirects import RedirectsMiddleware
from .request_id import RequestIdMiddleware
from .retry_after import RetryAfterMiddleware

EXPOSED = (
    "x-request-id",
    "retry-after",
    headers.ORIGINAL,
    headers.RETAINED,
    headers.KEEP_RATIO,
    headers.METHOD,
    headers.FOCUS_SCOPE,
    headers.SKIPPED_REASON,
)
"""Headers of ours that a page in a browser may read."""


def middlewares(
    chosen: Settings, ring: KeyRing, requests: InFlight, most_requests: int, processes: int, cors: dict[str, Any]
) -> list[Middleware]:
    """The middlewares, outermost first.

    Args:
        chosen: the operator's settings. ring: the keys. requests: in flight, for the drain.
        most_requests: of this API process in flight. processes: API processes of the server.
        cors: arguments of Starlette's CORSMiddleware.
    """
    door: list[Middleware] = [
        # Sees no request; has to be there when the server starts.
        Middleware(ConnectionsMiddleware),
        # Before anything answers, so that every answer and every line of the log has the id.
        Middleware(RequestIdMiddleware),
        # Sees the answer as the client gets it.
        *([Middleware(AccessLogMiddleware)] if chosen.json_logs else []),
        # A page may read a refusal only with these headers, and asks before it has a key. Closed unless origins are
        # named.
        *([Middleware(CORSMiddleware, **cors, expose_headers=EXPOSED)] if cors["allow_origins"] else []),
        # Around all that answers 429 or 503.
        Middleware(RetryAfterMiddleware),
        # Before the first that may answer without having read the body.
        Middleware(EarlyAnswerMiddleware, most_dropped=chosen.max_body_mib * 2**20),
        # No HTTP: nothing more is to be made of it.
        Middleware(HostMiddleware),
        Middleware(RedirectsMiddleware),
        # Before paths and methods are looked at.
        Middleware(HeadMiddleware),
        # A server that stops says so to everyone at once, and finishes whatever came in before. So it stands before the
        # body is read, which it waits for no longer than a moment then.
        Middleware(DrainMiddleware, requests=requests),
    ]
    if ring:
        # Whoever has no key takes no place of those who have one.
        door.append(Middleware(AuthenticationMiddleware, ring=ring, open_metrics=chosen.open_metrics))
        # Needs to know the key; a key that asks too often takes no place either.
        door.append(Middleware(RateMiddleware, rates=SharedRates(), processes=processes))
    # Routes look at the method themselves; a mount does not.
    door.append(Middleware(MetricsMethodsMiddleware))
    # No body is read for those who are turned away before.
    body = {"most": chosen.max_body_mib * 2**20, "most_held": chosen.max_bodies_mib * 2**20}
    door.append(Middleware(BodyMiddleware, **body, seconds=chosen.body_timeout))
    # The last: what it lets in is worked on, so that a body on its way takes no place.
    door.append(Middleware(CapacityMiddleware, most=most_requests))
    return door
