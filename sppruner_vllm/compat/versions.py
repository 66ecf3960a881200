"""The releases of vLLM that are known, and names that have moved between them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from packaging.version import Version

from sppruner_vllm.errors import UnsupportedSetup

OLDEST: Final = Version("0.32")
FIRST_UNKNOWN: Final = Version("0.34")


def check_version(version: str) -> None:
    """Refuse a vLLM whose hooks we have not read.

    Raises:
        UnsupportedSetup: outside [0.32, 0.34).
    """
    if not OLDEST <= Version(Version(version).base_version) < FIRST_UNKNOWN:
        raise UnsupportedSetup(f"sppruner_vllm supports vllm>={OLDEST},<{FIRST_UNKNOWN}; this is vLLM {version}")


def serve_parser() -> Any:
    """vLLM's own parser of its serve flags.

    Expiry: the module moved in 0.33; drop the older branch with support for 0.32.
    """
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    try:
        from vllm.entrypoints.common.cli_args import make_arg_parser
    except ModuleNotFoundError:
        from vllm.entrypoints.launchers.cli_args import make_arg_parser
    return make_arg_parser(FlexibleArgumentParser(prog="sppruner-serve"))


def media_placeholders() -> Collection[str]:
    """Text that vLLM takes for the place of a picture or video, though it is no token (`--interleave-mm-strings`).

    Expiry: the module moved in 0.33; drop the older branch with support for 0.32.
    """
    try:
        from vllm.renderers.chat_utils.content_parser import MODALITY_PLACEHOLDERS_MAP
    except ModuleNotFoundError:
        from vllm.renderers.chat_utils import MODALITY_PLACEHOLDERS_MAP
    placeholders: Collection[str] = MODALITY_PLACEHOLDERS_MAP.values()
    return placeholders


def set_up_command() -> None:
    """What vLLM's own command does to the environment before anything else.

    Expiry: the module moved in 0.33; drop the older branch with support for 0.32.
    """
    try:
        from vllm.entrypoints.common.startup import cli_env_setup
    except ModuleNotFoundError:
        from vllm.entrypoints.serve.utils.api_utils import cli_env_setup
    cli_env_setup()


def is_client_gone(answer: object) -> bool:
    """Whether what a route of vLLM's returned stands for a client that left before its answer.

    vLLM 0.32 returns None then, 0.33 a 200 with nothing in it, which would otherwise count as an answer
    (entrypoints/serve/utils/api_utils.py, `with_cancellation`).
    Expiry: drop None with support for 0.32.
    """
    from starlette.responses import Response

    return answer is None or (type(answer) is Response and not answer.body)
