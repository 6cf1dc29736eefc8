"""Lines, points, histograms, borders, routes, planes and networks: drawn, labelled, and small."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from nnx import plots
from nnx.plots import canvas, charts

X = np.linspace(0.1, 3.0, 5000)
POINTS = np.array([[0.0, 0.0], [1.0, 0.2], [0.3, 1.0], [0.9, 0.8]])


def halves(x):
    return (x[:, 0] > 0.5).astype(int)


DRAWINGS = {
    "lines": lambda path: plots.lines(
        {"a": {"sin": (X, np.sin(X)), "points: cos": (X[:9], np.cos(X[:9]))}, "b": {"sin": (X, X)}},
        path=path, title="Fig. 1", xlabel="time", ylabel="height", xlog=True, ylog=True),
    "scatter": lambda path: plots.scatter(
        {"": {"one": POINTS, "two": POINTS + 1}}, path, "Fig. 2", "time", "height"),
    "histograms": lambda path: plots.histograms(
        {"row": [X, X**2]}, path, "Fig. 3", "time", "height", columns=("a", "b")),
    "boundaries": lambda path: plots.boundaries(
        {"a": (halves, POINTS, halves(POINTS))}, path, "Fig. 4", "time", "height"),
    "routes": lambda path: plots.routes(
        {"": {"down": POINTS, "up": -POINTS}}, lambda x, y: x**2 + y**2, path, "Fig. 5", "time",
        "height", goal=(0.0, 0.0)),
    "points_and_plane": lambda path: plots.points_and_plane(
        {"a": np.c_[POINTS, [1.0, 2, 3, 4]]}, lambda x, y: x + y, path, "Fig. 6",
        ("time", "height", "z")),
    "mosaic": lambda path: plots.mosaic(
        {"time": np.ones((3, 8, 8)), "height": np.eye(8)[None]}, path, "Fig. 7", ("x", "y", "z")),
    "network": lambda path: plots.network((2, 3, 1), path, "Fig. 8", (("time", "height"),)),
}  # fmt: skip


@pytest.mark.parametrize("kind", DRAWINGS)
def test_it_is_drawn_with_names_and_small(kind, tmp_path):
    path = tmp_path / "a.svg"
    texts = [t.get_text() for t in DRAWINGS[kind](path).findobj(canvas._is_text)]
    assert any(t.startswith("Fig.") for t in texts)
    assert "time" in texts and any("height" in t for t in texts)
    assert not any("$" in t for t in texts), "a formula that would be shown as it is"
    assert 1000 < path.stat().st_size < 90_000


@pytest.mark.parametrize("kind", DRAWINGS)
def test_the_same_picture_is_the_same_file(kind, tmp_path):
    first, second = tmp_path / "a.svg", tmp_path / "b.svg"
    DRAWINGS[kind](first)
    DRAWINGS[kind](second)
    assert first.read_bytes() == second.read_bytes()
    assert not re.search(r"<dc:date>\s*\d", first.read_text())


def test_a_long_line_keeps_its_ends():
    x, y = charts.thinned(X, X**2)
    assert len(x) <= charts.MOST and x[0] == X[0] and x[-1] == X[-1] and y[-1] == X[-1] ** 2


def test_every_room_of_plots_is_exported():
    """What `page.draw` is told of in docs/reproduce.md is in `nnx.plots`."""
    text = (Path(__file__).parents[2] / "docs" / "reproduce.md").read_text()
    named = re.search(r"`lines`,(.*?)take arrays", text, re.DOTALL)
    assert named
    for name in re.findall(r"`(\w+)`", named[0]):
        assert name in plots.__all__


def test_colours_differ_in_lightness_or_hue():
    """Okabe and Ito's eight; no two the same."""
    assert len(set(plots.COLOURS)) == 8
