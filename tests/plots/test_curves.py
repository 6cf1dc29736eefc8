"""Learning curves of one run and of several."""

from __future__ import annotations

import pytest

from nnx import plots

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


def drawn(monkeypatch, runs, path):
    """The figure that is saved."""
    kept = []
    monkeypatch.setattr("nnx.plots.curves.save_figure", lambda figure, path: kept.append(figure))
    plots.compare_curves(runs, path, "a title")
    return kept[0]


RUNS = {name: rows(k) for k, name in enumerate(["relu with decay", "tanh", "sigmoid"])}


def test_panels_and_lines(monkeypatch, tmp_path):
    loss, accuracy = drawn(monkeypatch, RUNS, tmp_path / "a.png").axes
    assert (loss.get_ylabel(), accuracy.get_ylabel()) == ("loss", "accuracy")
    assert len(loss.get_lines()) == 6 and len(accuracy.get_lines()) == 3
    assert len({line.get_color() for line in loss.get_lines()}) == 3


@pytest.mark.parametrize("runs", [{"": rows(0)}, RUNS], ids=["one", "three"])
def test_each_curve_is_named_once_and_no_curve_is_covered(monkeypatch, tmp_path, runs):
    figure = drawn(monkeypatch, runs, tmp_path / "a.png")
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
