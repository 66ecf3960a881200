"""vLLM's own `bench serve`, called from Python in a process of its own: its command line does not start on every build.

    python -m loadtest.bench run  OUT.json  [flags of vllm bench serve]
    python -m loadtest.bench dump OUT.jsonl [the same flags]

`dump` writes the requests that such a run would send, for `--replay` of our own users.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from vllm.benchmarks import serve
from vllm.benchmarks.datasets import get_samples
from vllm.tokenizers import get_tokenizer
from vllm.utils.argparse_utils import FlexibleArgumentParser

from .files import save


def run(options: Any) -> dict[str, Any]:
    """The result of the bench, with every request's figures."""
    options.save_detailed = True
    result: dict[str, Any] = serve.main(options)
    return json.loads(json.dumps(result, default=float))  # type: ignore[no-any-return]


def requests(options: Any) -> Iterator[dict[str, Any]]:
    """The chat requests of the bench's data set, in its order."""
    random.seed(options.seed)
    np.random.seed(options.seed)  # as the bench does before it draws
    for sample in get_samples(options, get_tokenizer(options.tokenizer or options.model)):
        content = [{"type": "text", "text": sample.prompt}, *(sample.multi_modal_data or ())]
        yield {
            "messages": [{"role": "user", "content": content}],
            "max_tokens": sample.expected_output_len,
            "ignore_eos": True,
        }


def main(arguments: Sequence[str]) -> None:
    """See the top of this file."""
    command, out, *flags = arguments
    parser = FlexibleArgumentParser()
    serve.add_cli_args(parser)
    options = parser.parse_args(flags)
    if command == "run":
        save(Path(out), run(options))
    elif command == "dump":
        Path(out).write_text("".join(json.dumps(request) + "\n" for request in requests(options)))
    else:
        sys.exit(f"run or dump, not {command}")


if __name__ == "__main__":
    main(sys.argv[1:])
