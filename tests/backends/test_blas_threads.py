"""How many threads a BLAS has does not change NumPy's sums, which are products of matrices."""

from __future__ import annotations

import numpy as np
import pytest

from nnx.backends.cpu import blocks, norm, reduce
from nnx.backends.numpy import NumpyBackend

threadpoolctl = pytest.importorskip("threadpoolctl")


def softmax(k, x, g):
    y, z = k.softmax(x, -1), k.log_softmax(x, -1)
    return y, z, k.softmax_backward(g, y, -1), k.log_softmax_backward(g, z, -1)


def layer_norm(k, x, g):
    y, saved = k.layer_norm(x, x[0], None, 1e-5)
    return y, *k.layer_norm_backward(g, saved, (True,) * 3)


def batch_norm(k, x, g):
    y, mean, variance, saved = k.batch_norm(x, x[0], None, 1e-5)
    return y, mean, variance, *k.batch_norm_backward(g, saved, (True,) * 3)


def group_norm(k, x, g):
    x, g = (a[: len(a) // 4 * 4, None].reshape(-1, 4, a.shape[1]) for a in (x, g))
    y, saved = k.group_norm(x, None, None, 2, 1e-5)
    return y, *k.group_norm_backward(g, saved, (True,) * 3)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("shape", [(741, 740), (3, 70_001), (9001, 24), (2003, 136)])
@pytest.mark.parametrize("run", [softmax, layer_norm, batch_norm, group_norm])
def test_threads_of_a_blas_do_not_change_a_bit(run, shape, whole, monkeypatch):
    if whole:  # as one block, of which a BLAS would give each thread a part
        monkeypatch.setattr(blocks, "BLOCK", 2**30)
        monkeypatch.setattr(norm, "BLOCK_BYTES", 2**30)
    x, g = np.random.default_rng(0).standard_normal((2, *shape), dtype="float32")
    found = []
    for count in (1, 2, 3):
        with threadpoolctl.threadpool_limits(count, user_api="blas"):
            found.append(run(NumpyBackend(), x, g))
    for other in found[1:]:
        for got, alone in zip(other, found[0], strict=True):
            np.testing.assert_array_equal(got, alone)


SUMS = [(1, 1), (7, 300), (300, 7), (3, 70_000), (70_000, 3), (2, 140_000)]


@pytest.mark.parametrize("shape", SUMS)
def test_sums_of_rows_and_columns(shape):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, *shape))
    down, across = rng.standard_normal(shape[0]), rng.standard_normal(shape[1])
    np.testing.assert_allclose(reduce.row_sums(x, across), (x * across).sum(axis=1), atol=1e-10)
    np.testing.assert_allclose(
        reduce.column_sums(x, down), (x * down[:, None]).sum(axis=0), atol=1e-10
    )
    np.testing.assert_allclose(reduce.dots(x, y), (x * y).sum(axis=1), atol=1e-10)
