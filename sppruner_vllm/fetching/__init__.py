"""Getting a file that a client names by URL, without becoming its client's arm into a network.

Whom to ask is decided from the URL alone (`target`), where that is from addresses that were checked (`addresses`), and
the connection goes to these (`fetch`). Knows no engine.

FetchError
├── Forbidden   the URL names what this server does not ask for; the URL and the settings alone decide it
└── Failed      nothing usable came back, whatever the reason: the client learns nothing of the network
"""

from __future__ import annotations

from .fetch import Fetcher, Limits
from .kinds import Failed, FetchError, Forbidden
from .target import host_of

__all__ = ["Failed", "FetchError", "Fetcher", "Forbidden", "Limits", "host_of"]
