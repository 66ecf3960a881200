"""The file of keys (`--api-keys-file`). Its format is documented in docs/use/api.md, "Keys"."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sppruner_vllm.settings import Settings

from .key import BadKeys, Key, check

MOST_BYTES: Final = 4 * 2**20
"""Of a key file, some 40,000 keys; what is larger is not one."""


class _KeyFile(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    key: list[Key] = Field(min_length=1)


def read_keys(file: Path, limits: Settings) -> tuple[Key, ...]:
    """The keys of a file.

    Raises:
        BadKeys: the file cannot be read, or an entry is wrong; the message holds no key.
    """
    try:
        with file.open("rb") as opened:
            content = opened.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise BadKeys(f"key file {file}: more than {MOST_BYTES} bytes")
        keys = tuple(_KeyFile.model_validate(tomllib.loads(content.decode())).key)
    except OSError as problem:
        raise BadKeys(f"key file {file}: {problem.strerror}") from None
    except UnicodeDecodeError:
        raise BadKeys(f"key file {file}: not UTF-8") from None
    except ValidationError as problem:
        raise BadKeys(f"key file {file}: {explain(problem)}") from None
    except tomllib.TOMLDecodeError as problem:
        raise BadKeys(f"key file {file}: not TOML: {problem}") from None
    check(keys, limits)
    return keys


def explain(problem: ValidationError) -> str:
    """What is wrong with the entries, without what they hold."""
    return "; ".join(
        f"{'.'.join(str(place) for place in error['loc']) or 'file'}: {error['msg']}" for error in problem.errors()
    )
