"""The compiled convolution against its portable twin where the loops take turns of their own."""

from __future__ import annotations

import numpy as np
import pytest
from windows import integers

pytest.importorskip("numba")

from nnx.backends.base import Backend
from nnx.backends.jit import JitBackend, threads

NONE = ((0, 0), (0, 0))
# (N, C, H, W), (O, C, kh, kw), stride, padding, dilation
CASES = {
    "padding above and below in turn": (
        (2, 3, 6, 6), (5, 3, 5, 3), (1, 1), ((3, 1), (0, 0)), (1, 1),
    ),
    "every row sees padding": ((2, 3, 3, 4), (5, 3, 5, 5), (1, 1), ((2, 2), (2, 2)), (1, 1)),
    "rows that see nothing else": ((2, 3, 2, 3), (4, 3, 2, 2), (1, 1), ((4, 5), (3, 3)), (1, 1)),
    "the same with strides": ((2, 3, 4, 5), (4, 3, 2, 3), (3, 2), ((4, 5), (3, 4)), (1, 1)),
    "dilation leaps over the image": ((2, 3, 3, 3), (4, 3, 2, 2), (1, 1), ((4, 4), (4, 4)), (5, 5)),
    "long sums in pieces": ((2, 90, 7, 6), (35, 90, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1)),
    "longer than one row": ((1, 260, 4, 5), (40, 260, 3, 3), (1, 1), ((1, 2), (2, 1)), (1, 1)),
    "long and strided": ((2, 70, 8, 7), (40, 70, 3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1)),
    "long and dilated": ((2, 70, 8, 7), (40, 70, 3, 3), (1, 1), ((2, 2), (2, 2)), (2, 2)),
    "columns of padding left out": ((2, 24, 5, 5), (8, 24, 3, 5), (1, 1), ((1, 1), (4, 4)), (1, 1)),
    "those with a stride": ((2, 24, 5, 6), (8, 24, 3, 3), (1, 3), ((1, 1), (3, 5)), (1, 2)),
}  # fmt: skip


def results(backend, x, weight, bias, geometry, gy=None):
    y, saved = backend.conv2d(x, weight, bias, *geometry)
    gy = integers(3, *y.shape) if gy is None else gy
    return [y, *backend.conv2d_backward(gy, saved, (True, True, bias is not None))]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_equals_the_portable_twin(case, bias):
    images, kernel, *geometry = CASES[case]
    x, weight = integers(0, *images), integers(1, *kernel)
    b = integers(2, kernel[0]) if bias else None
    expected = results(Backend(np, "numpy"), x, weight, b, (*geometry, 1))
    for got, wanted in zip(
        results(JitBackend(), x, weight, b, (*geometry, 1)), expected, strict=True
    ):
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("fused", [False, True])
def test_threads_do_not_change_a_bit(fused):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((37, 3, 16, 15)).astype("float32")
    weight = rng.standard_normal((20, 3, 5, 5)).astype("float32")
    bias = rng.standard_normal(20).astype("float32")
    gy = rng.standard_normal((37, 20, 16, 15)).astype("float32")
    padding = ((2, 2), (2, 2))
    found = []
    for count in (1, 2, 3):
        threads.set_thread_count(count)
        try:
            if fused:
                y, _, _, saved = JitBackend().conv_block2d(
                    x, weight, bias, (1, 1), padding, (1, 1), 1, None, True, None
                )
                back = JitBackend().conv_block2d_backward(gy, saved, (True,) * 3 + (False,) * 2)
                found.append([y, *back[:3]])
            else:
                geometry = ((1, 1), padding, (1, 1), 1)
                found.append(results(JitBackend(), x, weight, bias, geometry, gy))
        finally:
            threads.set_thread_count(None)
    for other in found[1:]:
        for got, alone in zip(other, found[0], strict=True):
            np.testing.assert_array_equal(got, alone)
