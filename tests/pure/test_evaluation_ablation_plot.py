"""The ablation's picture: a panel for each ratio, a line for each variant, a mark for each run."""

from __future__ import annotations

import json
import sys

import pytest

from sppruner_vllm.evaluation import ablation_plot

CELL = {"relative": [0.9, 0.8, 1.0], "difference": [-0.1, -0.2, 0.0]}
RUN = {"questions": 7, "variants": {name: {"0.222": CELL, "0.111": CELL} for name in ("as shipped", "no gate")}}


def test_every_ratio_has_a_panel_and_every_variant_a_line():
    figure = ablation_plot.draw({"demo": RUN, "wild": RUN})
    assert [panel.get_title() for panel in figure.axes] == ["22.2% kept", "11.1% kept"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["no gate"]
    marks = [list(line.get_xdata()) for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert marks == [[-10.0], [-10.0]]


def test_the_command_reads_runs_by_name(tmp_path, monkeypatch):
    (tmp_path / "run.json").write_text(json.dumps(RUN))
    out = tmp_path / "picture.png"
    monkeypatch.setattr(sys, "argv", ["ablation_plot", f"demo={tmp_path / 'run.json'}", "--out", str(out)])
    ablation_plot.main()
    assert out.read_bytes().startswith(b"\x89PNG")


def test_a_file_without_a_name_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["ablation_plot", "run.json"])
    with pytest.raises(SystemExit):
        ablation_plot.main()
    assert "NAME=FILE" in capsys.readouterr().err
