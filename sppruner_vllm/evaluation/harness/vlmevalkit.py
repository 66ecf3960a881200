"""`python -m sppruner_vllm.evaluation.harness.vlmevalkit`: VLMEvalKit's own command, with our server among its models.

VLMEvalKit has no entry points for models: it looks a name up in a table. This enters every `--model` that begins with
`sppruner` there, and hands the command line on. What stands behind an @ is the keep ratio, behind a + the method:
`--model sppruner sppruner@0.222 sppruner@0.222+downscale`; VLMEvalKit names its files after it.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from .client import DEFAULT_URL

_NAME: Final = re.compile(r"sppruner(?:@(?P<ratio>[0-9.]+))?(?:\+(?P<method>\w+))?")


def fields_of(name: str) -> dict[str, Any] | None:
    """The request fields that a model's name stands for; None for a model that is not ours.

    Raises:
        ValueError: it begins as ours do, and goes on in no way that means something.
    """
    if not name.startswith("sppruner"):
        return None
    found = _NAME.fullmatch(name)
    if found is None:
        raise ValueError(f"{name}: a model of ours is sppruner[@KEEP_RATIO][+METHOD]")
    ratio, method = found["ratio"], found["method"]
    return {"keep_ratio": None if ratio is None else float(ratio), "reduction_method": method}


def register(names: Sequence[str], **connection: Any) -> None:
    """Enter those of `names` that are ours into VLMEvalKit's table.

    Args:
        connection: url, model, api_key, max_tokens and answers of `vlmevalkit_model.SpprunerAPI`.
    """
    from vlmeval.config import supported_VLM

    from .vlmevalkit_model import SpprunerAPI

    for name in names:
        if (fields := fields_of(name)) is not None:
            supported_VLM[name] = partial(SpprunerAPI, fields=fields, **connection)


def main(arguments: Sequence[str] | None = None) -> None:
    """Register and hand over.

    Args:
        arguments: None takes the command line's; what is not ours goes on to VLMEvalKit.
    """
    parser = argparse.ArgumentParser(prog="vlmevalkit", description=__doc__, add_help=False)
    parser.add_argument("--url", default=DEFAULT_URL, help="our server (default: %(default)s)")
    parser.add_argument("--served-model", help="name the server serves it under (default: the first it lists)")
    parser.add_argument("--api-key", default="none")
    parser.add_argument("--max-tokens", type=int, default=1024, help="longest answer (default: %(default)s)")
    parser.add_argument("--answers", type=Path, help="folder in which answers are kept (default: none is)")
    parser.add_argument("--model", nargs="+", default=[], help="sppruner[@KEEP_RATIO][+METHOD], and VLMEvalKit's own")
    ours, theirs = parser.parse_known_args(arguments)
    register(
        ours.model,
        url=ours.url,
        model=ours.served_model,
        api_key=ours.api_key,
        max_tokens=ours.max_tokens,
        answers=ours.answers,
    )
    from vlmeval import run
    from vlmeval.smp import load_env

    sys.argv = ["vlmeval", *(["--model", *ours.model] if ours.model else []), *theirs]
    load_env()
    run.main()


if __name__ == "__main__":
    main()
