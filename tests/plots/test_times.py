"""The bars of a network's layers."""

from __future__ import annotations

import pytest

from nnx import plots

pytest.importorskip("matplotlib")

SPENT = {
    "one": {"conv": (3.0, 5.0), "pool": (1.0, 1.0)},
    "two": {"conv": (1.0, 2.0)},  # pooling in one with it
}


def test_bars():
    figure = plots.layer_times(SPENT)
    left, right = figure.axes
    assert sorted(round(b.get_width()) for b in left.patches) == [10, 10, 10, 20, 30, 50]
    assert sorted(round(b.get_width()) for b in right.patches) == [17, 25, 75, 83, 100, 100]
    ends = [round(b.get_x() + b.get_width()) for b in right.patches]
    assert ends.count(100) == 4
    names = [t.get_text() for t in left.get_yticklabels()]
    assert names == ["one, forward", "backward", "two, forward", "backward"]
    legend = [t.get_text() for t in figure.legends[0].get_texts()]
    assert legend == ["conv", "pool"]


def test_a_layer_has_one_colour():
    left, _ = plots.layer_times({"one": SPENT["one"], "two": SPENT["one"]}).axes
    assert len({b.get_facecolor() for b in left.patches}) == 2


def test_the_file(tmp_path):
    plots.layer_times(SPENT, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
