"""The one constant that methods of different kinds have in common."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)  # No slots: records with slots could not be combined by inheritance.
class QueryParams:
    """Whether a method that looks at the query does so.

    relevance: False ignores the query.
    """

    relevance: bool = True
