"""`python -m sppruner_vllm.demo`: the demo; with `build` or `serve`, the pieces it is made of."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from . import places


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m sppruner_vllm.demo", description=__doc__)
    commands = parser.add_subparsers(dest="command")
    build = commands.add_parser("build", help="write a model of the same kind with random weights; print its folder")
    build.add_argument("--out", type=Path, default=places.RANDOM_MODEL, help="folder (default: %(default)s)")
    serve = commands.add_parser("serve", help="serve a model; flags not listed here go to vLLM")
    serve.add_argument("--model", help="folder or hub name (default: the demo model)")
    serve.add_argument("--port", type=int, default=8000, help="default: %(default)s")
    serve.add_argument("--keep-ratio", type=float, help="fraction of visual tokens kept when a request names none")
    serve.add_argument("--stock", action="store_true", help="serve with vLLM's own server, without our plugin")
    options, extra = parser.parse_known_args()
    if extra and options.command != "serve":
        parser.error(f"unrecognized arguments: {' '.join(extra)}")
    # Imported late: --help answers without loading torch.
    if options.command == "build":
        from .tiny_model import build_tiny_model

        print(build_tiny_model(options.out))
        return 0
    if options.command == "serve":
        from .serve import serve as run_server

        return run_server(options.model, options.port, options.keep_ratio, extra, stock=options.stock)
    from .tour import tour

    return tour()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
