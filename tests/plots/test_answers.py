"""Predictions against the truth."""

from __future__ import annotations

import numpy as np
import pytest

import nnx
from nnx import plots

pytest.importorskip("matplotlib")

T = np.asarray([1.0, 2.0, 3.0, 4.0])
P = np.asarray([1.5, 2.0, 2.5, 4.0])


def told(axes):
    return [t.get_text() for t in axes.get_legend().get_texts()]


@pytest.mark.parametrize("kind", [np.asarray, nnx.tensor, np.ndarray.tolist, np.float16])
def test_points_about_the_line_of_the_equal(kind):
    (axes,) = plots.predictions(kind(T), kind(P), title="a title").axes
    np.testing.assert_array_equal(axes.collections[0].get_offsets(), np.c_[T, P])
    line = axes.get_lines()[0]
    assert list(line.get_xdata()) == list(line.get_ydata()) == [1.0, 4.0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("true", "predicted")
    assert told(axes) == ["equal", "RMSE 0.354, R² 0.900"]  # √(0.5 / 4), 1 - 0.5 / 5


def test_columns_are_groups_by_their_names():
    (axes,) = plots.predictions(np.c_[T, 10 * T], np.c_[P, 10 * T], names=["a", "b"]).axes
    assert told(axes) == ["equal", "a: RMSE 0.354, R² 0.900", "b: RMSE 0, R² 1.000"]
    np.testing.assert_array_equal(axes.collections[1].get_offsets(), np.c_[10 * T, 10 * T])


def test_lines_over_time():
    (axes,) = plots.predictions(T[:, None], P[:, None], over=[0, 1, 2, 5]).axes
    true, said = axes.get_lines()
    assert list(said.get_xdata()) == [0, 1, 2, 5]
    assert list(true.get_ydata()) == list(T) and list(said.get_ydata()) == list(P)
    assert told(axes) == ["true", "predicted: RMSE 0.354, R² 0.900"]


def test_what_is_not_finite_is_counted():
    (axes,) = plots.predictions([1.0, np.nan, 3.0, 4.0], [1.0, 2.0, np.inf, 4.0]).axes
    assert told(axes)[1] == "RMSE 0, R² 1.000, 2 not finite"
    (axes,) = plots.predictions([np.nan], [1.0]).axes
    assert told(axes)[1] == "1 not finite"
    (axes,) = plots.predictions([2.0, 2.0], [1.0, 3.0]).axes
    assert told(axes)[1] == "RMSE 1", "no spread, no R²"
    (axes,) = plots.predictions([1e300, -1e300], [1e300, 1e300]).axes
    assert told(axes)[1] == "RMSE 1.41e+300, R² -1.000"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plots.predictions(T, T[:2]), r"truth \(4,\), predicted \(2,\)"),
        (lambda: plots.predictions(T, T[:, None]), r"truth \(4,\), predicted \(4, 1\)"),
        (lambda: plots.predictions([], []), r"no numbers; truth has shape \(0,\)"),
        (lambda: plots.predictions(T, P, over=[1, 2]), r"over has shape \(2,\), truth \(4,\)"),
        (lambda: plots.predictions(T, P, names="ab"), r"\(N, D\); it has shape \(4,\)"),
        (lambda: plots.predictions(T[:, None], P[:, None], names="ab"), "1 names .* it has 2"),
    ],
)
def test_what_does_not_fit(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_what_is_no_number():
    with pytest.raises(TypeError, match=r"truth must be of real numbers.*\(1,\)"):
        plots.predictions(["a"], ["b"])
    with pytest.raises(TypeError, match="complex128"):
        plots.predictions([1j], [1.0])
