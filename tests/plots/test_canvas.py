"""What all plots promise: a figure comes back, axes that are given are drawn on, nothing global."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import numpy as np
import pytest

import nnx
from nnx import nn, plots
from nnx.plots import canvas

pytest.importorskip("matplotlib")

POINTS = np.asarray([[0.0, 0.0], [1.0, 0.2], [0.3, 1.0], [0.9, 0.8]])
X = nnx.tensor(POINTS.astype("float32"))


def trained():
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh())
    model(X).sum().backward()
    return model


# name -> (what is called with `path=`, `title=` and the axes; how many axes; one as `ax`)
PLOTS = {
    "activation_histograms": (lambda **k: plots.activation_histograms(trained(), X, **k), 2),
    "attention": (lambda **k: plots.attention(np.full((2, 3, 3), 1 / 3), **k), 2),
    "boundaries": (
        lambda **k: plots.boundaries({"a": (lambda x: x[:, 0] > 0, POINTS, [0, 1, 0, 1])}, **k),
        1,
    ),
    "compare_curves": (
        lambda **k: plots.compare_curves({"a": [{"epoch": 1, "loss": 1.0, "accuracy": 0.5}]}, **k),
        2,
    ),
    "confusion_matrix": (lambda **k: plots.confusion_matrix([[1, 2], [0, 1]], **k), 0),
    "errors": (
        lambda **k: plots.errors(np.ones((2, 2, 2)), [0, 1], np.eye(2)[::-1], "ab", most=3, **k),
        4,
    ),
    "filters": (lambda **k: plots.filters(np.ones((2, 1, 3, 3)), **k), 0),
    "gradient_histograms": (lambda **k: plots.gradient_histograms(trained(), **k), 2),
    "histograms": (lambda **k: plots.histograms({"a": [POINTS, POINTS]}, **k), 2),
    "layer_times": (lambda **k: plots.layer_times({"a": {"conv": (1.0, 2.0)}}, **k), 2),
    "learning_curves": (lambda **k: plots.learning_curves([{"epoch": 1, "loss": 1.0}], **k), 1),
    "lines": (lambda **k: plots.lines({"": {"a": POINTS.T, "b": POINTS.T}}, **k), 1),
    "mosaic": (lambda **k: plots.mosaic({"a": np.ones((2, 3, 3))}, **k), 0),
    "network": (lambda **k: plots.network((2, 1), **k), 0),
    "points_and_plane": (
        lambda **k: plots.points_and_plane({"a": np.ones((2, 3))}, lambda x, y: x + y, **k),
        0,
    ),
    "predictions": (lambda **k: plots.predictions([1, 2], [1, 3], **k), 0),
    "routes": (lambda **k: plots.routes({"": {"a": POINTS}}, lambda x, y: x * y, **k), 1),
    "scatter": (lambda **k: plots.scatter({"": {"a": POINTS}}, **k), 1),
    "sheet": (lambda **k: plots.sheet(np.ones((2, 3, 3)), "ab", **k), 2),
}
ASIDE = {"COLOURS", "available", "figure", "logarithmic", "save_figure"}


def drawn_things(axes):
    return axes.lines or axes.images or axes.collections or axes.patches


def given_axes(name, count, extra=0):
    """A figure, and axes of it as the plot wants them."""
    drawn = plots.figure()
    kind = {"projection": "3d"} if name == "points_and_plane" else {}
    grid = drawn.subplots(1, max(count, 1) + extra, squeeze=False, subplot_kw=kind)
    return drawn, grid[0]


def test_every_plot_is_listed():
    assert set(PLOTS) == set(plots.__all__) - ASIDE


@pytest.mark.parametrize("name", PLOTS)
def test_a_figure_comes_back_and_a_notebook_shows_it(name):
    from matplotlib.figure import Figure

    drawn = PLOTS[name][0](title="a $title")
    assert isinstance(drawn, Figure) and drawn.get_suptitle() == "a $title"
    assert not drawn._suptitle.get_parse_math()
    picture, size = drawn._repr_png_()
    assert picture.startswith(b"\x89PNG")
    assert size["width"] == round(96 * drawn.get_size_inches()[0])


@pytest.mark.parametrize("name", PLOTS)
def test_it_draws_on_axes_of_yours(name, tmp_path):
    draw, count = PLOTS[name]
    mine, (*axes, aside) = given_axes(name, count, extra=1)
    aside.set_xlabel("$x^2$")
    write = getattr(axes[0], "text2D", axes[0].text)
    write(0.5, 0.5, "$y^2$", transform=axes[0].transAxes)
    kind = {"axes": axes} if count else {"ax": axes[0]}
    assert draw(title="a title", path=tmp_path / "a.png", **kind) is mine
    assert mine.axes == [*axes, aside], "no colour bar pushes in"
    assert all(drawn_things(a) for a in axes[:2]) and not drawn_things(aside)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert mine.get_suptitle() == ("a title" if len(axes) > 1 else "")
    if len(axes) == 1:
        assert axes[0].get_title() == "a title"
    formulas = [aside.xaxis.label, next(t for t in axes[0].texts if t.get_text() == "$y^2$")]
    assert all(t.get_parse_math() for t in formulas), "formulas of yours stay formulas"


@pytest.mark.parametrize("name", PLOTS)
def test_axes_of_another_number_or_none_at_all(name):
    draw, count = PLOTS[name]
    key, needed = ("axes" if count else "ax"), max(count, 1)
    with pytest.raises(ValueError, match=f"{needed} axes are needed, {needed + 1} are given"):
        draw(**{key: given_axes(name, count, extra=1)[1]})
    for wrong in (plots.figure(), "here", [1] * needed):
        with pytest.raises(TypeError, match=r"axes of matplotlib.* not \w+"):
            draw(**{key: wrong})


@pytest.mark.parametrize("name", PLOTS)
def test_without_matplotlib_it_says_what_to_do(name, monkeypatch):
    monkeypatch.setattr(canvas, "available", lambda: False)
    with pytest.raises(RuntimeError, match="pip install matplotlib"):
        PLOTS[name][0]()


def test_axes_in_a_part_of_a_figure():
    mine = plots.figure()
    part, _ = mine.subfigures(1, 2)
    assert plots.lines({"": {"a": POINTS.T}}, axes=part.subplots()) is mine


def test_nothing_global_is_touched():
    """pyplot is not imported, and the backend and the settings are as they were."""
    code = """
        import matplotlib, warnings
        warnings.simplefilter("error")
        matplotlib.use("svg")
        before = dict(matplotlib.rcParams)
        import sys, tempfile, nnx
        from nnx import plots
        drawn = plots.lines({"": {"a": ([1, 2], [3, 4])}}, tempfile.mkdtemp() + "/a.svg")
        plots.confusion_matrix([[1]], ax=drawn.add_subplot())
        drawn._repr_png_()
        assert "matplotlib.pyplot" not in sys.modules
        assert dict(matplotlib.rcParams) == before
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


def test_arrays_of_any_library(backend):
    """And tensors that require a gradient, and float16, and booleans."""
    x = nnx.tensor([0.5, 1.5, 2.5], requires_grad=True)
    (axes,) = plots.predictions(x * 2, x.data).axes
    np.testing.assert_array_equal(axes.collections[0].get_offsets(), [[1, 0.5], [3, 1.5], [5, 2.5]])
    (axes,) = plots.predictions(nnx.tensor([True, False]), [1, 0]).axes
    np.testing.assert_array_equal(axes.collections[0].get_offsets(), [[1, 1], [0, 0]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plots.lines({"": {"sin": ([1, 2, 3], [1, 2])}}),
         r"x of 'sin' and y of 'sin' must be \(N,\) each.*\(3,\).*\(2,\)"),
        (lambda: plots.lines({"": {"a": ([[1, 2]], [[1, 2]])}}), r"\(1, 2\)"),
        (lambda: plots.lines({}), "nothing to draw"),
        (lambda: plots.scatter({"": {"a": [[1, 2, 3]]}}), r"\(N, 2\); it has shape \(1, 3\)"),
        (lambda: plots.scatter({"": {"a": [[1, 2], [3]]}}), r"points of 'a' must be \(N, 2\)"),
        (lambda: plots.histograms({"a": [[1]], "b": []}), "{'a': 1, 'b': 0}"),
        (lambda: plots.histograms({"a": [[1]]}, columns="xy"), "1 names .* it has 2"),
        (lambda: plots.histograms({}), "nothing to draw"),
        (lambda: plots.network(()), "a unit at least"),
        (lambda: plots.network((2, 0)), r"sizes are \(2, 0\)"),
        (lambda: plots.boundaries({"": (np.sum, POINTS, [0, 1])}), r"\(4, 2\), classes \(2,\)"),
        (lambda: plots.boundaries({"": (np.sum, POINTS, [0, 1, 2, 5])}), "0 to 4"),
        (lambda: plots.boundaries({"": (np.sum, POINTS, [0, 1, 2, 3])}), r"the answer \(\)"),
        (lambda: plots.routes({"": {"a": [1, 2]}}, np.add), r"path 'a' .*\(T, 2\).*\(2,\)"),
        (lambda: plots.routes({"": {}}, np.add), "no points"),
        (lambda: plots.points_and_plane({"a": POINTS}, np.add), r"\(N, 3\); it has shape \(4, 2\)"),
        (lambda: plots.points_and_plane({}, np.add), "nothing to draw"),
        (lambda: plots.points_and_plane({"a": np.ones((1, 3))}, np.add,
                                        ax=plots.figure().subplots()), 'projection="3d"'),
        (lambda: plots.layer_times({}), "some time"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_with_its_shape(call, message):
    with pytest.raises(ValueError, match=message):
        call()
