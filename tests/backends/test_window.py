"""`Window` says where windows lie; a loop over all pixels is the judge."""

import numpy as np
import pytest

from nnx.backends.portable.window import Window, pad, padded_zeros

WINDOWS = [
    Window((1, 1)),
    Window((2, 3), (2, 1)),
    Window((3, 2), (1, 2), ((1, 0), (2, 1)), (2, 3)),
    Window((2, 2), (3, 4), ((0, 3), (0, 0))),
    Window((9, 9), (1, 1), ((1, 1), (1, 1))),
]


def starts(size, kernel, stride, padding, dilation):
    """Where windows begin along an axis, found by trying."""
    last = size + sum(padding) - (dilation * (kernel - 1) + 1)
    return [p for p in range(last + 1) if p % stride == 0]


@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_counts_and_taps(window):
    h, w = 7, 8
    axes = list(zip((h, w), *window, strict=True))
    down, across = starts(*axes[0]), starts(*axes[1])
    out = window.counts((h, w))
    assert (max(out[0], 0), max(out[1], 0)) == (len(down), len(across))
    if min(out) < 1:
        return
    image = pad(np, np.arange(float(h * w)).reshape(1, 1, h, w), window, -1.0)
    assert image.shape[2:] == window.padded((h, w))
    inside = image[(..., *window.inside((h, w)))]
    np.testing.assert_array_equal(inside.reshape(-1), np.arange(h * w))
    assert (image == -1).sum() == image.size - h * w
    taps = window.taps(out)
    assert len(taps) == window.places
    for k, tap in enumerate(taps):
        i, j = divmod(k, window.kernel[1])
        rows = [p + i * window.dilation[0] for p in down]
        columns = [q + j * window.dilation[1] for q in across]
        np.testing.assert_array_equal(image[tap][0, 0], image[0, 0][np.ix_(rows, columns)])


def test_without_padding_nothing_is_copied():
    x = np.ones((2, 3, 4, 5), "float32")
    assert pad(np, x, Window((2, 2))) is x and not Window((2, 2)).pads
    zeros = padded_zeros(np, x, x.shape, Window((2, 2), padding=((1, 0), (0, 2))))
    assert zeros.shape == (2, 3, 5, 7) and zeros.dtype == x.dtype and not zeros.any()


def test_equal_windows_are_one_key():
    """Plans are kept by it."""
    assert len({Window((3, 3)), Window((3, 3), (1, 1)), Window((3, 3), (2, 2))}) == 2
