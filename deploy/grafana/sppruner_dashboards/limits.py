"""Where a value starts to be a worry. The alerts in deploy/prometheus/rules use the same; a test compares them."""

from __future__ import annotations

from typing import Final

FIRST_TOKEN_SECONDS: Final = 2.5
ERROR_SHARE: Final = 0.01
REJECTED_SHARE: Final = 0.1
KV_USAGE: Final = 0.9
WAITING: Final = 5
PREEMPTIONS_PER_SECOND: Final = 0.1
SELECTION_SECONDS: Final = 0.1

SELECTION_SHARE: Final = 0.01
"""Share of the prefill time. No alert uses it: on a small model the selection is a larger part of less work."""
