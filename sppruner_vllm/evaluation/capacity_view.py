"""Capacity, view: a sizing as a table for the terminal, as Markdown and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.table import Table

from .capacity_memory import usage
from .capacity_sizing import Row, Sizing
from .markdown import markdown_table

_NONE: Final = "—"


def figures(row: Row, sizing: Sizing) -> dict[str, str]:
    """A row's texts under their names."""
    shown = {
        "visual tokens": f"{row.kept:,}",
        "prompt tokens": f"{row.prompt:,.0f}",
        "KV MiB per request": f"{row.kv_bytes / 2**20:.2f}",
        "requests that fit the KV cache": f"{row.fit:,}",
    }
    rate, fleet = row.rate, row.fleet
    if rate is None or fleet is None:
        return shown
    in_use = rate.users * usage(1, row.prompt, sizing.question.request.output, sizing.question.pool)
    return shown | {
        "users of a replica": f"{rate.users:g}",
        "KV cache in use, %, at most": f"{100 * in_use:.2f}",
        "latency, s": f"{rate.latency_s:.3f}",
        "requests/s of a replica": f"{rate.per_second:.2f}",
        "bound by": rate.limit,
        "basis": rate.basis,
        "replicas": f"{fleet.replicas:,}",
        "GPUs": f"{fleet.gpus:,}",
    }


def lines(sizing: Sizing) -> list[tuple[str, ...]]:
    """A table with a column per keep ratio; the first line is its head."""
    columns = [figures(row, sizing) for row in sizing.rows]
    names = max(columns, key=len)
    head = ("keep ratio", *(f"{row.keep_ratio:g}" for row in sizing.rows))
    return [head, *((name, *(column.get(name, _NONE) for column in columns)) for name in names)]


def facts(sizing: Sizing) -> tuple[str, ...]:
    """What all rows share, in sentences."""
    question = sizing.question
    request, pool, traffic, layout = question.request, question.pool, question.traffic, question.layout
    several = {"images": len(request.visual), "videos": len(request.videos)}
    named = " and ".join(f"{count} {kind}" for kind, count in several.items() if count)
    images = f"{request.original:,} visual tokens" + (f" of {named}" if len(request.shown) > 1 else "")
    spread = f"{layout.regions} regions, of which one may be lost" if layout.regions > 1 else "one region"
    cells_of = f"cells of {layout.per_cell} replicas" if layout.per_cell else "one cell per region"
    return (
        f"Request: {images}, {request.text:.1f} other tokens, {request.output:g} tokens out.",
        f"KV cache of a replica: {pool.blocks:,} blocks of {pool.block_size} tokens, {pool.bytes_per_token:,} bytes "
        "per token.",
        f"Traffic: {traffic.peak:g} requests/s at the peak, {100 * traffic.headroom:g} % of each replica left free; "
        f"{traffic.monthly:,.0f} requests in 30 days, as the peak is {traffic.peak_to_mean:g} times the mean.",
        f"Fleet: {spread}, {cells_of}, {layout.spares} spare per cell, {layout.gpus} GPU per replica.",
    )


def markdown(sizing: Sizing) -> str:
    """Facts, table and warnings."""
    head, *body = lines(sizing)
    parts = ["\n".join(f"- {fact}" for fact in facts(sizing)), markdown_table(head, body)]
    if sizing.warnings:
        parts.append("\n".join(f"- {warning}" for warning in sizing.warnings))
    return "\n\n".join(parts) + "\n"


def table(sizing: Sizing) -> Table:
    """For the terminal."""
    head, *body = lines(sizing)
    view = Table(box=SIMPLE_HEAD)
    view.add_column(head[0], no_wrap=True)
    for name in head[1:]:
        view.add_column(name, justify="right")
    for line in body:
        view.add_row(*line)
    return view


def document(sizing: Sizing) -> dict[str, Any]:
    """All figures, ready for JSON, under the names of the dataclasses."""
    return {**asdict(sizing), "monthly": sizing.question.traffic.monthly}
