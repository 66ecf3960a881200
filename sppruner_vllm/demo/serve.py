"""`make serve`: a server in the foreground, and a request to paste into another terminal."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Final

from sppruner_vllm.demo_model.flags import DEMO_ENVIRONMENT, DEMO_NAME, KV_SPACE, demo_arguments
from sppruner_vllm.demo_model.picture import QUESTIONS, picture_url

from . import places
from .server_process import (
    NO_PLUGIN,
    OURS,
    STOCK,
    RunningServer,
    ServerFailed,
    running_server,
    server_command,
    server_url,
)

EXAMPLE_RATIO: Final = 0.222


def serve(model: str | None, port: int, keep_ratio: float | None, extra: Sequence[str], *, stock: bool = False) -> int:
    """Serve until the server ends or is told to.

    Args:
        model: folder or hub name, None for the demo model.
        port: TCP port on the loopback interface.
        keep_ratio: what requests get that name none; None leaves the server's default, 1.
        extra: further vLLM flags.
        stock: serve with vLLM's own server and without our plugin, to compare with.

    Returns:
        Exit status: the server's own, 0 after Ctrl-C, 1 when it did not start.
    """
    arguments = demo_arguments() if model is None else ["--model", model]
    if keep_ratio is not None:
        arguments += ["--keep-ratio", str(keep_ratio)]
    environment = DEMO_ENVIRONMENT if model is None else {KV_SPACE: os.environ.get(KV_SPACE, "4")}
    print("Starting the server; on two CPU cores that takes about a minute.", flush=True)
    command = server_command([*arguments, *extra], port, STOCK if stock else OURS)
    try:
        with running_server(command, server_url(port), {**environment, **(NO_PLUGIN if stock else {})}) as server:
            if not stock:
                _print_example(server, model)
            return server.process.wait()
    except ServerFailed as failure:
        print(f"{failure}.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


def _print_example(server: RunningServer, model: str | None) -> None:
    name = DEMO_NAME if model is None else model
    places.CACHE.mkdir(exist_ok=True)
    places.EXAMPLE_REQUEST.write_text(json.dumps(example_request(name)))
    lines = [
        f"Ready at {server.url}. Stop it with Ctrl-C. A request to paste into another terminal:",
        "",
        f"curl -s {server.url}/v1/chat/completions -H 'Content-Type: application/json' -d @{places.EXAMPLE_REQUEST}",
        "",
        "Its `usage` shows the visual tokens before and after. `keep_ratio` in that file is yours to change.",
    ]
    if model is None:
        lines.append(
            "The demo model knows one small world of shapes, digits and signs; about other pictures it guesses."
        )
    print("\n" + "\n".join(lines) + "\n", flush=True)


def example_request(model: str) -> dict[str, object]:
    """Body of a chat completion about the demo's picture."""
    content = [{"type": "image_url", "image_url": {"url": picture_url()}}, {"type": "text", "text": QUESTIONS[0][0]}]
    return {
        "model": model,
        "keep_ratio": EXAMPLE_RATIO,
        "max_tokens": 16,
        "temperature": 0,
        "messages": [{"role": "user", "content": content}],
    }
