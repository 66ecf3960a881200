"""Colours that mean the same on every panel, as Grafana names them."""

from __future__ import annotations

from typing import Final

PERCENTILES: Final = {"p50": "green", "p90": "yellow", "p95": "orange", "p99": "red"}

BANDS: Final = {"1": "#9fa7b3", "0.5-1": "light-blue", "0.25-0.5": "blue", "0.1-0.25": "purple", "0-0.1": "dark-purple"}
"""Grey where nothing was reduced, then the stronger the more was."""

OUTCOMES: Final = {"success": "green", "client_error": "yellow", "client_disconnect": "blue", "server_error": "red"}

TOKENS: Final = {"original": "#9fa7b3", "computed": "#9fa7b3", "retained": "blue", "saved": "green"}

MODALITIES: Final = {"image": "blue", "video": "purple"}

RATIOS: Final = {"requested": "#9fa7b3", "retained": "blue"}

KEPT: Final = {"hit": "green", "miss": "#9fa7b3"}

AGREEMENT: Final = {"same": "green", "different": "red", "sampled": "#9fa7b3"}
