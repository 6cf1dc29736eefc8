"""kernels/embedding.cu against the portable index_add."""

from __future__ import annotations

import numpy as np
import pytest

from nnx.backends.cuda.launcher import LARGEST_GRID

# A row's sum of up to 300 terms in another order.
RTOL = {"float32": 1e-5, "float64": 1e-14}

# entries, columns, rows
CASES = {
    "one": (1, 1, 1),
    "more rows than entries": (5, 3, 40),
    "32 columns": (31, 32, 7),
    "33 columns": (33, 33, 300),
    "long runs": (300, 5, 2),
    "runs of two or so": (60, 3, 30),
    "64 columns": (64, 64, 9),
}


@pytest.mark.kernels("run_starts", "index_add")
@pytest.mark.parametrize("case", CASES)
def test_index_add(cuda, real, case):
    m, columns, rows = CASES[case]
    rng = np.random.default_rng(0)
    values = rng.standard_normal((m, columns)).astype(real)
    indices = rng.integers(0, rows, m)
    (out,) = cuda.agree(lambda b, v, i: b.index_add(v, i, rows), values, indices, rtol=RTOL[real])
    naive = np.zeros((rows, columns))
    np.add.at(naive, indices, values)
    np.testing.assert_allclose(out, naive, rtol=0, atol=20 * RTOL[real])


@pytest.mark.kernels("run_starts", "index_add")
def test_small_integers_are_exact(cuda, real):
    rng = np.random.default_rng(1)
    values = rng.integers(-9, 10, (200, 3, 4)).astype(real)
    indices = rng.integers(0, 6, 200).astype("int32")
    cuda.agree(lambda b, v, i: b.index_add(v, i, 8), values, indices)


@pytest.mark.in_half("index_add")
def test_in_half(cuda):
    """A sum of 300 terms is rounded once."""
    rng = np.random.default_rng(0)
    values, indices = rng.standard_normal((300, 33)).astype("float16"), rng.integers(0, 2, 300)
    cuda.agree(lambda b, v, i: b.index_add(v, i, 2), values, indices, rtol=1e-6)


def test_nothing_to_add(cuda, real):
    empty = np.empty((0, 4), real), np.empty(0, "int64")
    (out,) = cuda.agree(lambda b, v, i: b.index_add(v, i, 5), *empty)
    assert out.shape == (5, 4) and not out.any()
    cuda.agree(lambda b, v, i: b.index_add(v, i, 0), *empty)
    cuda.agree(lambda b, v, i: b.index_add(v, i, 5), np.ones((3, 0), real), np.arange(3))


def test_other_dtypes_and_rows_wider_than_a_grid_use_the_twin(cuda):
    wide = np.ones((1, 32 * LARGEST_GRID[1] + 1), "float32")
    cuda.agree(lambda b, v, i: b.index_add(v, i, 1), wide, np.zeros(1, "int64"))
    cuda.agree(lambda b, v, i: b.index_add(v, i, 3), np.ones((4, 2), "int64"), np.arange(4) % 3)
    assert not cuda.launched
