"""The readable versions of convolution and pooling against their definitions, in every bit.

The definitions themselves are held to PyTorch in `ops/test_conv.py` and `ops/test_pool.py`.
"""

from __future__ import annotations

import numpy as np
import pytest
from windows import integers

from nnx import reference

WAYS = {
    "sliced": (reference.conv2d_sliced, reference.conv2d_sliced_backward),
    "columns": (reference.conv2d_columns, reference.conv2d_columns_backward),
}


@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize("kernel", [3, 4, 5])
@pytest.mark.parametrize("way", WAYS)
def test_convolution(way, kernel, padding):
    forward, backward = WAYS[way]
    x, w, b = integers(0, 3, 2, 6, 7), integers(1, 4, 2, kernel, kernel), integers(2, 4)
    border = ((padding, padding), (padding, padding))
    y = forward(x, w, b, padding)
    np.testing.assert_array_equal(y, reference.conv2d(x, w, b, padding=border))
    gy = integers(3, *y.shape)
    expected = reference.conv2d_backward(gy, x, w, padding=border)
    got = backward(gy, x, w, padding)
    for g, e in zip(got, expected, strict=True):
        assert g.dtype == "float32"
        np.testing.assert_array_equal(g, e)
    none, *others = backward(gy, x, w, padding, needs_input=False)
    assert none is None
    for g, e in zip(others, expected[1:], strict=True):
        np.testing.assert_array_equal(g, e)


@pytest.mark.parametrize("size", [2, 3])
def test_pooling(size):
    """Small integers: many windows have several largest values, of which the first counts."""
    x = integers(0, 2, 3, 3 * size, 2 * size)
    y, chosen = reference.max_pool2d_columns(x, size)
    expected, where = reference.max_pool2d(x, (size, size), (size, size))
    np.testing.assert_array_equal(y, expected)
    gy = integers(1, *y.shape)
    gx = reference.max_pool2d_columns_backward(gy, chosen)
    assert gx.dtype == y.dtype == "float32"
    np.testing.assert_array_equal(gx, reference.max_pool2d_backward(gy, where, x.shape))
