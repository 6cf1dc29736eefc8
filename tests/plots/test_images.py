"""Filters, sheets and mosaics: what stands where, and on which scale."""

from __future__ import annotations

import numpy as np
import pytest

import nnx
from nnx import plots
from nnx.plots.images import tiled

pytest.importorskip("matplotlib")


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (10, 1, 3, 3), (5, 4, 5, 3)])
def test_filters_of_any_number_are_drawn(shape):
    weight = np.random.default_rng(0).standard_normal(shape)
    drawn = plots.filters(weight, title="a title")
    axes, bar = drawn.axes
    (image,) = axes.images
    shown = np.ma.filled(image.get_array(), np.nan)
    strongest = np.abs(weight).sum((2, 3)).argmax(1)
    kernels = weight[np.arange(len(weight)), strongest]
    most = np.abs(kernels).max()
    assert image.get_clim() == (-most, most) and bar.get_ylabel() == "weight"
    assert sorted(shown[np.isfinite(shown)]) == sorted(kernels.ravel())
    assert drawn.get_suptitle() == "a title"


def test_filters_lie_row_by_row():
    pictures = np.arange(10.0)[:, None, None] * np.ones((1, 4, 2))
    whole = tiled(pictures, 8)
    assert whole.shape == (9, 23)
    np.testing.assert_array_equal(whole[:4, :2], 0)
    np.testing.assert_array_equal(whole[:4, 21:], 7)
    np.testing.assert_array_equal(whole[5:, 3:5], 9)
    assert np.isnan(whole[4]).all() and np.isnan(whole[5:, 5:]).all()


def test_filters_of_a_layer_of_zeros_and_of_broken_ones():
    image = plots.filters(nnx.zeros((2, 1, 3, 3))).axes[0].images[0]
    assert image.get_clim() == (-1.0, 1.0)
    weight = nnx.ones((1, 1, 2, 2)).astype("float16").numpy().copy()
    weight[0, 0, 0, 0], weight[0, 0, 0, 1] = np.nan, -np.inf
    image = plots.filters(weight).axes[0].images[0]
    assert image.get_clim() == (-1.0, 1.0) and image.get_array().mask.sum() == 2


def test_a_sheet_has_a_name_above_each_picture():
    pictures = np.arange(2 * 3 * 4.0).reshape(2, 3, 4)
    first, second, *rest = plots.sheet(pictures, ["$a$", "b"]).axes
    assert (first.get_title(), second.get_title(), rest) == ("$a$", "b", [])
    np.testing.assert_array_equal(second.images[0].get_array(), pictures[1])


def test_a_mosaic_lays_its_rows_above_each_other():
    axes = plots.mosaic({"a": np.zeros((3, 2, 2)), "b": np.ones((1, 4, 2))}, columns="xyz").axes[0]
    assert axes.images[0].get_array().shape == (2 + 2 + 4 + 2, 3 * 4)
    assert [t.get_text() for t in axes.get_yticklabels()] == ["a", "b"]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["x", "y", "z"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plots.filters(np.zeros((3, 3))), r"\(O, C, kh, kw\); it has shape \(3, 3\)"),
        (lambda: plots.filters(np.zeros((0, 1, 3, 3))), r"no numbers; its shape is \(0, 1, 3, 3\)"),
        (lambda: plots.sheet(np.zeros((2, 3)), "ab"), r"\(N, H, W\); it has shape \(2, 3\)"),
        (lambda: plots.sheet(np.zeros((2, 3, 3)), "a"), r"2 names .* \(2, 3, 3\); it has 1"),
        (lambda: plots.sheet(np.zeros((0, 3, 3)), ""), "nothing to draw"),
        (lambda: plots.mosaic({"a": np.zeros((2, 3))}), r"row 'a' .*\(2, 3\)"),
        (lambda: plots.mosaic({}), "nothing to draw"),
        (lambda: plots.mosaic({"a": np.zeros((2, 3, 3))}, columns="a"), "2 columns .* 1 are given"),
    ],
)
def test_what_does_not_fit_is_told_with_its_shape(call, message):
    with pytest.raises(ValueError, match=message):
        call()
