"""Reports of one run, from its result.json alone: report.html with curves inside, report.md, and the curves as files.

`python -m loadtest.page RESULT` writes them again.
"""

from __future__ import annotations

import argparse
import base64
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, PackageLoader

from .plots import distributions, over_time, png
from .slo import OK, SLO_MISSED
from .tables import NOTHING, Table, group_table, latency_table, number, percent

HTML: Final = "report.html"
MARKDOWN: Final = "report.md"
_MOST_ERRORS: Final = 10


@dataclass(frozen=True, slots=True)
class Picture:
    """A plot: its file name, what it shows, its bytes."""

    name: str
    caption: str
    content: bytes

    @property
    def data_url(self) -> str:
        return f"data:image/png;base64,{base64.b64encode(self.content).decode()}"


@dataclass(frozen=True, slots=True)
class Page:
    """A report before it is Markdown or HTML."""

    title: str
    verdict: str
    facts: tuple[tuple[str, str], ...]
    tables: tuple[Table, ...]
    pictures: tuple[Picture, ...]

    def write(self, folder: Path) -> None:
        """Write both forms, and the pictures beside them."""
        for picture in self.pictures:
            (folder / picture.name).write_bytes(picture.content)
        environment = Environment(loader=PackageLoader("loadtest", "."), autoescape=True)
        (folder / HTML).write_text(environment.get_template("page.html.j2").render(page=self))
        (folder / MARKDOWN).write_text(self.markdown())

    def markdown(self) -> str:
        """The page as Markdown, with the pictures named as files."""
        facts = "\n".join(f"- {name}: {value}" for name, value in self.facts)
        tables = "\n\n".join(table.markdown() for table in self.tables)
        pictures = "\n\n".join(f"![{picture.caption}]({picture.name})" for picture in self.pictures)
        parts = (f"# {self.title}", self.verdict, facts, tables, pictures)
        return "\n\n".join(part for part in parts if part) + "\n"


def write_reports(result: Mapping[str, Any], folder: Path) -> None:
    """Write the reports of a run.

    Args:
        result: as in result.json.
        folder: exists already.
    """
    page(result).write(folder)


def page(result: Mapping[str, Any]) -> Page:
    """The report of a run."""
    ours = result["sppruner"]
    ratios = [(group["keep_ratio"], group) for group in ours["ratios"]]
    scenarios = [(group["scenario"], group) for group in ours["scenarios"]]
    tables = [group_table("By keep ratio", ratios), latency_table(ratios)]
    if len(scenarios) > 1:
        tables.append(group_table("By scenario", scenarios))
    if result["failed"]:
        tables.append(_errors(result["errors"]))
    pictures = (
        Picture(
            "over-time.png",
            "Requests, time to first token and the server's gauges along the run",
            png(over_time(result)),
        ),
        Picture("distributions.png", "Latencies by keep ratio", png(distributions(result))),
    )
    return Page("Load test", _verdict(result), _facts(result), tuple(tables), pictures if result["completed"] else ())


def _verdict(result: Mapping[str, Any]) -> str:
    ours = result["sppruner"]
    if ours["exit_status"] == SLO_MISSED:
        wanted = percent(ours["slo"]["share"])
        return f"SLO missed: {percent(ours['good_share'])} % of the requests kept it, {wanted} % should."
    if ours["exit_status"] != OK:
        return f"Too many errors: {result['failed']} of {result['num_prompts']} requests failed."
    if ours["slo"] is None:
        return "No SLO was asked for."
    return f"SLO met: {percent(ours['good_share'])} % of the requests kept it."


def _facts(result: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    ours = result["sppruner"]
    users, pace, usage = result["max_concurrency"], ours["pace"], ours["server"]["kv_cache_usage"]
    load = f"{users} users" if users is not None else f"{result['request_rate']} sessions per second, open loop"
    limits = {name: limit for name, limit in (ours["slo"] or {}).items() if name != "share"}
    facts = {
        "Model": result["model_id"],
        "Load": f"{ours['shape']}, {load}, {number(result['duration'])} s",
        "Requests": f"{result['completed']} answered, {result['failed']} failed",
        "Throughput": f"{number(result['request_throughput'], 2)} requests/s, "
        f"{number(result['output_throughput'])} tokens/s",
        "SLO": ", ".join(f"{name} {limit:g} ms" for name, limit in limits.items()) or NOTHING,
        "KV cache in use": f"mean {percent(usage['mean'], 2)} %, most {percent(usage['max'], 2)} %"
        if usage
        else NOTHING,
        "Options": ", ".join(f"{name}={value}" for name, value in ours["options"].items() if value is not None),
    }
    if pace is not None:
        kept = "kept up" if pace["kept"] else "COULD NOT KEEP UP: the load was less than asked for"
        facts["Load generator"] = f"{kept}; {pace['late']} of {pace['arrivals']} arrivals were late"
    return tuple(facts.items())


def _errors(errors: Sequence[str]) -> Table:
    counts = Counter(error for error in errors if error).most_common(_MOST_ERRORS)
    return Table("Errors", ("error", "requests"), tuple((_one_line(error), str(count)) for error, count in counts))


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "/")[:200]


def main() -> None:
    """Write the reports of a result again."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.page", description=__doc__)
    parser.add_argument("result", type=Path, help="result.json of a run")
    path: Path = parser.parse_args().result
    write_reports(json.loads(path.read_text()), path.parent)


if __name__ == "__main__":
    main()
