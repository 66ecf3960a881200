"""`make demo`: start a server, ask about one picture at three keep ratios, print costs and answers, stop the server."""

from __future__ import annotations

from typing import Final

from rich.console import Console

from sppruner_vllm.demo_model.flags import DEMO_ENVIRONMENT, DEMO_NAME, demo_arguments
from sppruner_vllm.demo_model.picture import QUESTIONS

from . import places
from .measure import measure
from .server_process import ServerFailed, free_port, running_server, server_command, server_url
from .tables import answers, notes, table

RATIOS: Final = (1.0, 0.5, 0.222)
REPEATS: Final = 5


def tour() -> int:
    """Run the demo.

    Returns:
        Exit status: 1 when the server did not start.
    """
    console = Console()
    console.print("Starting a server with the demo model; on two CPU cores that takes about a minute.")
    port = free_port()
    command = server_command(demo_arguments(), port)
    try:
        with (
            console.status("waiting for the server") as status,
            running_server(
                command,
                server_url(port),
                DEMO_ENVIRONMENT,
                log=places.SERVER_LOG,
                on_wait=lambda seconds: status.update(f"waiting for the server: {seconds:.0f} s"),
            ) as server,
        ):
            status.update(f"asking {len(RATIOS) * (REPEATS + 1 + len(QUESTIONS))} times")
            costs = measure(server.url, DEMO_NAME, RATIOS, REPEATS)
            status.update("stopping the server")
    except ServerFailed as failure:
        console.print(f"{failure}. The end of its log, {places.SERVER_LOG}:", markup=False)
        console.print("\n".join(places.SERVER_LOG.read_text(errors="replace").splitlines()[-20:]), markup=False)
        return 1
    console.print(table(costs), answers(costs), notes(REPEATS))
    return 0
