"""The command line: vLLM's serve flags, plus ours.

Our flags only set SPPRUNER_* variables, because the environment is what reaches every process vLLM starts.
"""

from __future__ import annotations

import gc
import os
import signal
from argparse import SUPPRESS, ArgumentParser, BooleanOptionalAction, Namespace
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any, Final

from pydantic import ValidationError

from sppruner_vllm.compat.versions import serve_parser, set_up_command
from sppruner_vllm.fetching import Forbidden, host_of
from sppruner_vllm.recipes import request_methods
from sppruner_vllm.reduction import BrokenMethod
from sppruner_vllm.settings import Settings, settings

from .environment import DRAIN_SECONDS, FRONT_SECONDS
from .keys.key import BadKeys
from .keys.ring import KeyRing

FLAGS: Final = {
    "keep_ratio": "--keep-ratio",
    "min_keep_ratio": "--min-keep-ratio",
    "max_keep_ratio": "--max-keep-ratio",
    "min_tokens": "--min-tokens",
    "max_unreduced_tokens": "--max-unreduced-tokens",
    "max_unreduced_image_tokens": "--max-unreduced-image-tokens",
    "max_image_pixels": "--max-image-pixels",
    "max_request_pixels": "--max-request-pixels",
    "max_video_pixels": "--max-video-pixels",
    "max_image_side": "--max-image-side",
    "max_image_aspect": "--max-image-aspect",
    "max_image_frames": "--max-image-frames",
    "shrink_large_images": "--shrink-large-images",
    "auto_least_ratio": "--auto-least-ratio",
    "auto_reading_ratio": "--auto-reading-ratio",
    "auto_whole_tokens": "--auto-whole-tokens",
    "load_floor_ratio": "--load-floor-ratio",
    "load_begins": "--load-begins",
    "load_ends": "--load-ends",
    "max_pixels": "--max-pixels",
    "detail_low_pixels": "--detail-low-pixels",
    "detail_high_pixels": "--detail-high-pixels",
    "detail_auto_pixels": "--detail-auto-pixels",
    "max_query_tokens": "--max-query-tokens",
    "focus_scope": "--focus-scope",
    "shared_keep_ratio": "--shared-keep-ratio",
    "throughput_guard": "--throughput-guard",
    "url_fetching": "--url-fetching",
    "fetch_networks": "--fetch-networks",
    "fetch_hosts_file": "--fetch-hosts-file",
    "fetch_mib": "--fetch-mib",
    "method": "--reduction-method",
    "saliency_attention": "--saliency-attention",
    "question_depth": "--question-depth",
    "state_table": "--state-table",
    "heap_trim_seconds": "--heap-trim-seconds",
    "rank_on": "--rank-on",
    "rows_cache_mib": "--rows-cache-mib",
    "pixels_cache_mib": "--pixels-cache-mib",
    "encoder_cut": "--encoder-cut",
    "encoder_cut_block": "--encoder-cut-block",
    "skip_repeats": "--skip-repeats",
    "allow_method": "--allow-reduction-method",
    "api_keys_file": "--api-keys-file",
    "open_metrics": "--open-metrics",
    "open_routes": "--open-routes",
    "max_body_mib": "--max-body-mib",
    "max_bodies_mib": "--max-bodies-mib",
    "max_requests": "--max-requests",
    "header_timeout": "--header-timeout",
    "body_timeout": "--body-timeout",
    "write_timeout": "--write-timeout",
    "shadow_share": "--shadow-share",
    "shadow_per_hour": "--shadow-per-hour",
    "shadow_max_in_flight": "--shadow-max-in-flight",
    "explain": "--explain",
    "playground": "--playground",
    "grafana_url": "--grafana-url",
    "json_logs": "--json-logs",
}
"""Settings field to flag."""

STOP_SECONDS: Final = 30
"""Default of --shutdown-timeout: what requests in flight may take after a SIGTERM. vLLM's own is 0.

Stop timeouts of whoever runs the server must be longer."""

TRACES_ENDPOINT: Final = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"

_DEST: Final = "sppruner_"


def parse(argv: Sequence[str] | None = None) -> Namespace:
    """Parse the command line and set the environment; exits with status 2 and a message when something is wrong.

    Args:
        argv: without the program name; None takes the process's own.

    Returns:
        vLLM's arguments, ours taken out.
    """
    parser = serve_parser()
    add_flags(parser)
    # The usual usage details are what `visual_tokens` stands beside; --no-enable-prompt-tokens-details turns them off.
    parser.set_defaults(enable_prompt_tokens_details=True, shutdown_timeout=STOP_SECONDS)
    args: Namespace = parser.parse_args(None if argv is None else list(argv))
    if problem := _export(args) or _unsupported(args):
        parser.error(problem)
    return args


def add_flags(parser: ArgumentParser) -> None:
    """Add our flags as a group of their own."""
    group = parser.add_argument_group("SPpruner", "Visual-token reduction; each flag has an environment variable.")
    for name, flag in FLAGS.items():
        field = Settings.model_fields[name]
        kind: dict[str, Any] = {"action": BooleanOptionalAction} if field.annotation is bool else {"metavar": "VALUE"}
        default = "none" if field.default is None else field.default
        description = f"{field.description} Default: {default}. Environment: {_variable(name)}."
        group.add_argument(flag, dest=_DEST + name, default=SUPPRESS, help=description, **kind)


def _export(args: Namespace) -> str | None:
    """Move our flags from `args` to the environment; the problem with the settings, if there is one."""
    for name in FLAGS:
        if hasattr(args, _DEST + name):
            os.environ[_variable(name)] = str(getattr(args, _DEST + name))
            delattr(args, _DEST + name)
    settings.cache_clear()
    try:
        chosen = settings()
    except ValidationError as exc:
        return "; ".join(_explain(error) for error in exc.errors())
    try:
        KeyRing(chosen)
    except BadKeys as problem:
        return f"--api-keys-file: {problem}"
    try:
        known = request_methods()
    except BrokenMethod as problem:
        return str(problem)
    if chosen.method not in known:
        return f"--reduction-method: {chosen.method} is not one of {', '.join(sorted(known))}"
    return None


def _explain(error: Any) -> str:
    field = str(error["loc"][0]) if error["loc"] else None
    if field is None:
        return str(error["msg"])
    return f"{FLAGS.get(field, _variable(field))}: {error['msg']}, got {error['input']}"


def _unsupported(args: Namespace) -> str | None:
    from vllm import envs

    if envs.VLLM_USE_RUST_FRONTEND:
        return "VLLM_USE_RUST_FRONTEND bypasses the Python API server and with it keep_ratio; unset it"
    if args.grpc:
        return "--grpc replaces the HTTP server and with it keep_ratio; leave it out"
    return _unheard_of(args.allowed_media_domains or ())


def _unheard_of(domains: Sequence[str]) -> str | None:
    """The problem with the hosts that may be fetched from, if there is one."""
    for domain in domains:
        try:
            host_of(domain)
        except Forbidden:
            return f"--allowed-media-domains: {domain!r} is no host; it takes names and addresses, without port or path"
    return None


def _variable(field: str) -> str:
    return f"SPPRUNER_{field.upper()}"


def serve(args: Namespace) -> None:
    """Run vLLM's serve command, which also decides between one and several API server processes."""
    from vllm.entrypoints.cli.serve import ServeSubcommand
    from vllm.logger import configure_logging_from_args

    from .hooks import install_api_servers, install_start
    from .lifecycle.api_servers import ApiServers

    set_up_command()
    if settings().json_logs:
        log_in_json(args)
    configure_logging_from_args(args)
    if args.otlp_traces_endpoint:
        # Workers learn it from their environment. vLLM sets it in API servers, which start no worker when there are
        # several of them (vLLM 0.32, tracing/otel.py, init_otel_tracer).
        os.environ.setdefault(TRACES_ENDPOINT, args.otlp_traces_endpoint)
    os.environ[DRAIN_SECONDS] = str(args.shutdown_timeout)
    args.shutdown_timeout += FRONT_SECONDS
    # vLLM only logs that a plugin cannot be imported, and would serve without ours: no keys, no limits, no reduction.
    import_module(f"{__package__}.plugin")
    install_api_servers(ApiServers)
    install_start(signal.getsignal(signal.SIGTERM))
    command = ServeSubcommand()
    command.validate(args)
    try:
        command.cmd(args)
    finally:
        # Python looks through all objects for garbage as it ends, which takes as long as all the rest of the end does.
        gc.freeze()


def log_in_json(args: Namespace) -> None:
    """Let vLLM log in JSON too, and leave the lines about requests to our own middleware."""
    from vllm.config.logging import LoggingConfig

    args.logging_config = replace(getattr(args, "logging_config", None) or LoggingConfig(), formatter="json")
    args.disable_uvicorn_access_log = True
