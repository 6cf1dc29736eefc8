"""Attention maps: of the layers that have one, their scale and their names."""

from __future__ import annotations

import numpy as np
import pytest

import nnx
from nnx import nn, plots

pytest.importorskip("matplotlib")


def test_the_heads_of_a_layer():
    layer = nn.MultiheadAttention(8, 4, batch_first=True)
    x = nnx.tensor(np.random.default_rng(0).standard_normal((2, 5, 8)).astype("float32"))
    _, weights = layer(x, x, x, average_attn_weights=False)
    drawn = plots.attention(weights[1], "abcde", "vwxyz", title="who looks where")
    *maps, bar = drawn.axes
    expected = weights[1].detach().numpy()
    assert [axes.get_title() for axes in maps] == [f"head {k}" for k in range(4)]
    for axes, head in zip(maps, expected, strict=True):
        np.testing.assert_allclose(axes.images[0].get_array(), head)
        np.testing.assert_allclose(axes.images[0].get_clim(), (0, expected.max()))
        assert [t.get_text() for t in axes.get_yticklabels()] == list("abcde")
        assert [t.get_text() for t in axes.get_xticklabels()] == list("vwxyz")
    assert bar.get_ylabel() == "weight" and maps[0].get_ylabel() == "query"


def test_one_map_with_a_row_that_looks_nowhere():
    weights = np.asarray([[0.25, 0.75, 0.0], [np.nan] * 3], "float16")
    axes, _ = plots.attention(weights).axes
    image = axes.images[0]
    assert image.get_clim() == (0, 0.75) and image.get_array().mask.tolist()[1] == [True] * 3
    assert axes.patch.get_hatch() and axes.get_title() == ""
    assert [t.get_text() for t in axes.get_xticklabels()] == ["0", "1", "2"]


def test_a_long_one_names_some():
    axes, _ = plots.attention(np.full((200, 90), 1 / 90)).axes
    assert [t.get_text() for t in axes.get_yticklabels()] == [str(k) for k in range(0, 200, 4)]
    assert [t.get_text() for t in axes.get_xticklabels()] == [str(k) for k in range(0, 90, 2)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((2, 4, 5, 5)),), r"\(2, 4, 5, 5\): of a batch choose one"),
        ((np.zeros(3),), r"\(L, S\), or \(H, L, S\) for H heads; it has shape \(3,\)"),
        ((np.zeros((0, 3)),), r"shape \(0, 3\)"),
        ((np.zeros((2, 3)), "abc"), r"rows must have 2 names for an array of shape \(2, 3\); it"),
        ((np.zeros((2, 3)), "ab", "abcd"), r"columns must have 3 names .* it has 4"),
    ],
)
def test_what_is_no_map(arguments, message):
    with pytest.raises(ValueError, match=message):
        plots.attention(*arguments)
