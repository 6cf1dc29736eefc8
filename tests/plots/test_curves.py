"""Learning curves of one run and of several."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nnx import plots
from nnx.train import History

pytest.importorskip("matplotlib")


def rows(shift):
    return [
        {
            "epoch": k,
            "lr": 0.1,
            "loss": shift + 1 / k,
            "val_loss": shift + 1.5 / k,
            "accuracy": 1 - 0.1 * shift - 0.5 / k,
        }
        for k in range(1, 9)
    ]


RUNS = {name: rows(k) for k, name in enumerate(["relu with decay", "tanh", "sigmoid"])}


def test_panels_and_lines():
    loss, accuracy = plots.compare_curves(RUNS).axes
    assert (loss.get_ylabel(), accuracy.get_ylabel()) == ("loss", "accuracy")
    assert len(loss.get_lines()) == 6 and len(accuracy.get_lines()) == 3
    assert len({line.get_color() for line in loss.get_lines()}) == 3


@pytest.mark.parametrize("runs", [{"": rows(0)}, RUNS], ids=["one", "three"])
def test_each_curve_is_named_once_and_no_curve_is_covered(runs):
    figure = plots.compare_curves(runs, title="a title")
    figure.canvas.draw()
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    expected = [f"{r}, {w}" if r else w for r in runs for w in ("training", "validation")]
    assert names == expected
    box = legend.get_window_extent()
    assert not any(box.overlaps(axes.get_window_extent()) for axes in figure.axes)
    assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1


def test_one_epoch_is_a_picture_too(tmp_path):
    plots.learning_curves([{"epoch": 1, "loss": 1.0}], tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"


def test_histories_are_drawn_as_their_rows(tmp_path):
    history = History()
    history.rows = rows(0)
    loss, _ = plots.learning_curves(history).axes
    x, y = loss.get_lines()[0].get_data()
    assert list(x) == list(range(1, 9)) and list(y) == history["loss"]


def test_what_is_not_finite_is_a_gap():
    told = [{"epoch": k, "loss": v} for k, v in enumerate([1.0, math.inf, math.nan, 2.0], 1)]
    (axes,) = plots.learning_curves(told).axes
    assert np.isnan(axes.get_lines()[0].get_ydata()).tolist() == [False, True, True, False]


def test_a_run_without_a_column_has_no_curve_there():
    runs = {"a": rows(0), "b": [{"epoch": 1, "loss": 2.0}]}
    loss, accuracy = plots.compare_curves(runs).axes
    assert len(loss.get_lines()) == 3 and len(accuracy.get_lines()) == 1


def test_nothing_and_no_rows():
    with pytest.raises(ValueError, match="no epoch"):
        plots.learning_curves(History())
    with pytest.raises(TypeError, match="mapping for each epoch, not dict"):
        plots.learning_curves({"loss": [1.0]})
    with pytest.raises(ValueError, match="2 axes are needed, 1 are given"):
        plots.learning_curves(rows(0), axes=plots.figure().subplots())
