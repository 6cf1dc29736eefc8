"""Planes become channels last, whatever way that is done."""

from __future__ import annotations

import numpy as np
import pytest

from nnx.backends.cpu import layout, thresholds

SHAPES = {
    "few channels": (2, 3, 16, 17),
    "planes that clash": (2, 9, 32, 32),
    "longer ones, in pieces": (3, 10, 40, 64),
    "planes that do not": (2, 9, 5, 7),
    "sequences": (2, 9, 512),
    "volumes": (2, 9, 4, 8, 16),
    "no images": (0, 9, 32, 32),
    "no pixels": (2, 9, 0, 3),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_planes_are_turned(shape, dtype, monkeypatch):
    monkeypatch.setattr(thresholds, "TURN", 0)
    monkeypatch.setattr(layout, "ROOM", 2**15)
    x = np.arange(np.prod(shape), dtype=dtype).reshape(shape)
    x.flags.writeable = False
    got = layout.contiguous_channels_last(x)
    assert got.flags.c_contiguous and got.dtype == x.dtype
    np.testing.assert_array_equal(got, np.moveaxis(x, 1, -1))


@pytest.mark.parametrize("size", [2**14 - 1, 2**14])
def test_nothing_is_copied_that_lies_right(size):
    one, last = np.zeros((1, 1, size)), np.zeros((2, 8, size // 8)).swapaxes(1, 2)
    for x in (one, last):
        assert np.shares_memory(layout.contiguous_channels_last(x), x)
