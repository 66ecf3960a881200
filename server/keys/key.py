"""An API key: who may ask, how often, and within which keep ratios.

Only hashes are held, and the one that is presented is compared with all of them in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sppruner_vllm.errors import UnsupportedSetup
from sppruner_vllm.request.handed_over import RatioBounds
from sppruner_vllm.settings import Settings

NAME: Final = r"^[A-Za-z0-9._-]{1,64}$"
DIGEST: Final = r"^[0-9a-f]{64}$"
Ratio = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]


class BadKeys(UnsupportedSetup):
    """The keys cannot be used as they are written; says which entry, and never what the key is."""


class Key(BaseModel):
    """One key and what it may do.

    name: for logs; never secret.
    sha256: of the key, 64 hexadecimal digits.
    min_keep_ratio, max_keep_ratio: bounds of this key, inside those of the server; None for the server's own.
    requests_per_minute: over all API processes of the server; None for any number.
    max_in_flight: requests of this key at the same time; None for any number.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: str = Field(pattern=NAME)
    sha256: str = Field(pattern=DIGEST)
    min_keep_ratio: Ratio | None = None
    max_keep_ratio: Ratio | None = None
    requests_per_minute: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)] | None = None
    max_in_flight: Annotated[int, Field(ge=1, strict=True)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _plain_key_is_hashed(cls, given: Any) -> Any:
        if not isinstance(given, dict) or "key" not in given:
            return given
        rest = {name: value for name, value in given.items() if name != "key"}
        if "sha256" in rest:
            raise ValueError("give key or sha256, not both")
        return {**rest, "sha256": digest_of(given["key"])}

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Key:
        low, high = self.min_keep_ratio, self.max_keep_ratio
        if low is not None and high is not None and low > high:
            raise ValueError("min_keep_ratio must not exceed max_keep_ratio")
        return self

    def within(self, limits: Settings) -> Settings:
        """The operator's settings as they are for this key: its bounds inside theirs, the default ratio held to them.

        Raises:
            BadKeys: its bounds and those of the server have no ratio in common.
        """
        try:
            return limits.narrowed(*self.bounds)
        except ValueError as problem:
            raise BadKeys(f"key {self.name}: {problem}") from None

    @property
    def bounds(self) -> RatioBounds:
        """Smallest and largest ratio as far as the key goes."""
        return RatioBounds(self.min_keep_ratio or 0.0, self.max_keep_ratio or 1.0)


def digest_of(key: object) -> str:
    """The SHA-256 of a key, as the file may give it.

    Raises:
        ValueError: it could not be sent in a header.
    """
    if not isinstance(key, str) or not key or not all("!" <= character <= "~" for character in key):
        raise ValueError("a key is visible ASCII without spaces")
    return hashlib.sha256(key.encode()).hexdigest()


def check(keys: Iterable[Key], limits: Settings) -> None:
    """Whether keys can stand beside one another and within the server's bounds.

    Raises:
        BadKeys: a name or a key is there twice, or a bound leaves no ratio.
    """
    names: set[str] = set()
    digests: set[str] = set()
    for key in keys:
        if key.name in names:
            raise BadKeys(f"key {key.name}: the name is there twice")
        if key.sha256 in digests:
            raise BadKeys(f"key {key.name}: another name has the same key")
        names.add(key.name)
        digests.add(key.sha256)
        key.within(limits)


def plain_keys(given: Iterable[str], prefix: str) -> tuple[Key, ...]:
    """Keys that came without a name, from flags or the environment: whatever they are, named by their place."""
    keys: dict[str, Key] = {}
    for number, key in enumerate(given, 1):
        digest = hashlib.sha256(key.encode()).hexdigest()
        keys.setdefault(digest, Key(name=f"{prefix}-{number}", sha256=digest))
    return tuple(keys.values())


def find(keys: Iterable[Key], presented: Iterable[bytes]) -> Key | None:
    """The key that one of the presented secrets is; takes as long whether it is one or not.

    Args:
        presented: as they came over the wire.
    """
    found = None
    known = tuple(keys)
    for secret in presented:
        digest = hashlib.sha256(secret).hexdigest()
        for key in known:
            if hmac.compare_digest(digest, key.sha256) and found is None:
                found = key
    return found
