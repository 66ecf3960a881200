"""What is asked: a server at an address, a server started for the purpose, or an engine in this process."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rich.console import Console

from sppruner_vllm.demo.server_process import ServerFailed, free_port, running_server, server_command, server_url
from sppruner_vllm.demo_model import CHECKPOINT
from sppruner_vllm.demo_model.flags import DEMO_ENVIRONMENT, KV_SPACE, demo_arguments
from sppruner_vllm.settings import Settings

from .asking import Asker, AskingFailed, Manner
from .over_http import HttpAsker

SERVER_LOG: Final = "server.log"
ENCODES_ALL: Final = ("--rows-cache-mib", "0", "--pixels-cache-mib", "0")
"""Times of several ratios and methods are compared: whoever asks first about a picture must not encode it for all."""


@contextmanager
def backend(
    options: argparse.Namespace, extra: Sequence[str], manner: Manner, lowest_ratio: float, console: Console
) -> Iterator[Asker]:
    """The backend that the command line names, for as long as the block lasts.

    Args:
        options: of the command `run`.
        extra: further vLLM flags, for an engine of our own.
        manner: how to ask.
        lowest_ratio: smallest keep ratio that will be asked for.
        console: for what takes its time.

    Raises:
        AskingFailed: there is nothing to ask.
    """
    if options.url is not None:
        with _http(options.url, options.model, manner, options) as asker:
            yield asker
        return
    if options.bare:
        from .engineless import EnginelessAsker

        yield EnginelessAsker(options.model or str(CHECKPOINT), manner)
        return
    lowest_ratio = min(lowest_ratio, Settings.model_fields["min_keep_ratio"].default)
    demo = options.model is None
    arguments = [*(demo_arguments() if demo else ["--model", options.model]), *extra]
    # Without it the CPU build wants nearly all of the machine's memory for its KV cache.
    environment = DEMO_ENVIRONMENT if demo else {KV_SPACE: os.environ.get(KV_SPACE, "4")}
    if options.in_process:
        from .in_process import InProcessAsker

        os.environ.update(environment)
        yield InProcessAsker(arguments, manner, lowest_ratio)
        return
    arguments = [*ENCODES_ALL, *arguments, "--allow-reduction-method", "--min-keep-ratio", str(lowest_ratio)]
    log = options.out / SERVER_LOG
    with _own_server(arguments, environment, log, console) as url, _http(url, None, manner, options) as asker:
        yield asker


def _http(url: str, model: str | None, manner: Manner, options: argparse.Namespace) -> HttpAsker:
    return HttpAsker(url, model, manner, options.concurrency, options.api_key)


@contextmanager
def _own_server(arguments: Sequence[str], environment: Mapping[str, str], log: Path, console: Console) -> Iterator[str]:
    port = free_port()
    status = console.status("starting a server; on two CPU cores that takes about a minute")
    status.start()
    try:
        with running_server(server_command(arguments, port), server_url(port), environment, log=log) as server:
            status.stop()
            yield server.url
    except ServerFailed as failure:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
        raise AskingFailed(f"{failure}. The end of its log, {log}:\n{tail}") from failure
    finally:
        status.stop()
