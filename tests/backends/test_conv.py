"""Convolution against its portable twin where padding, strides and long sums meet."""

from __future__ import annotations

import numpy as np
import pytest
from windows import integers

from nnx.backends import Backend
from nnx.backends.cpu import thresholds
from nnx.backends.cpu.convolution import columns, depthwise, pieces, tiles
from nnx.backends.portable.window import Window

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
    "one product, padding below": ((2, 8, 3, 4), (5, 8, 1, 3), (1, 1), ((0, 2), (1, 1)), (1, 1)),
    "one product, padding above": ((1, 8, 9, 1), (17, 8, 1, 5), (2, 1), ((2, 0), (2, 2)), (1, 1)),
    "one pixel to a row": ((1, 8, 3, 1), (5, 8, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1)),
    "a pixel": ((3, 5, 9, 8), (7, 5, 1, 1), (1, 1), NONE, (1, 1)),
    "a pixel, strided": ((2, 3, 6, 8), (4, 3, 1, 1), (2, 3), NONE, (1, 1)),
    "a pixel and padding": ((2, 3, 6, 5), (4, 3, 1, 1), (2, 1), ((1, 0), (2, 0)), (1, 1)),
    "one channel and long rows": ((2, 1, 5, 9), (5, 1, 3, 9), (1, 1), ((1, 1), (0, 4)), (1, 1)),
    "groups of pixels": ((2, 16, 6, 5), (32, 8, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1)),
    "the same, dilated": ((2, 16, 6, 7), (16, 8, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 2)),
    "tiles": ((2, 3, 6, 8), (4, 3, 2, 4), (2, 4), NONE, (1, 1)),
    "tiles and what is left over": ((3, 3, 7, 8), (5, 3, 2, 2), (2, 3), NONE, (1, 1)),
    "tiles with gaps": ((2, 3, 9, 7), (4, 3, 2, 3), (5, 3), NONE, (3, 1)),
    "one window": ((3, 4, 3, 2), (5, 4, 3, 2), (3, 2), NONE, (1, 1)),
    "small groups": ((3, 8, 6, 7), (12, 2, 3, 3), (1, 1), ((1, 1), (2, 0)), (1, 1)),
    "small groups, strided": ((2, 6, 6, 7), (4, 3, 3, 2), (2, 1), ((1, 0), (0, 1)), (1, 2)),
    "small groups of many kernels": ((2, 4, 6, 5), (20, 2, 2, 3), (1, 1), NONE, (1, 1)),
    "small groups, far padding": ((2, 4, 3, 3), (4, 2, 2, 2), (1, 1), ((3, 1), (0, 2)), (1, 1)),
    "large groups": ((2, 24, 6, 5), (6, 12, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1)),
    "depthwise": ((3, 5, 9, 8), (5, 1, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1)),
    "depthwise, strided": ((2, 20, 9, 8), (20, 1, 3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1)),
    "depthwise, across": ((2, 3, 7, 9), (3, 1, 2, 4), (1, 3), ((0, 2), (1, 3)), (2, 1)),
    "depthwise, down": ((2, 3, 9, 7), (3, 1, 2, 4), (3, 1), ((2, 0), (3, 0)), (1, 2)),
    "depthwise, rows of many": (
        (2, 64, 7, 11), (64, 1, 3, 5), (1, 1), ((1, 1), (2, 2)), (1, 1),
    ),
    "depthwise, rows of few": ((2, 3, 6, 6), (3, 1, 3, 2), (1, 1), ((1, 1), (0, 0)), (1, 1)),
    "depthwise, in bands": ((1, 3, 70, 64), (3, 1, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1)),
    "depthwise, far padding": ((2, 3, 4, 4), (3, 1, 2, 2), (1, 1), ((3, 0), (0, 2)), (1, 1)),
    "depthwise, leaping": ((2, 3, 3, 3), (3, 1, 2, 2), (1, 1), ((4, 4), (4, 4)), (5, 5)),
}  # fmt: skip


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """NumPy's kernels take these few planes, columns and pixels in several blocks."""
    monkeypatch.setattr(depthwise, "BLOCK_BYTES", 2000)
    monkeypatch.setattr(columns, "BLOCK_BYTES", 2000)
    monkeypatch.setattr(tiles, "ROWS", 50)
    monkeypatch.setattr(pieces, "one_thread", lambda: True)
    monkeypatch.setattr(pieces, "MULTIPLY_ADDS", 5000)
    monkeypatch.setattr(pieces, "SUMMED", 16)


def results(on, backend, x, weight, bias, geometry, last):
    *geometry, groups = geometry
    window = Window(weight.shape[2:], *geometry)
    x, weight, bias = (None if a is None else on.asarray(a) for a in (x, weight, bias))
    if last and on.xp is np:
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    y, saved = backend.conv2d(x, weight, bias, window, groups)
    gy = on.asarray(integers(3, *y.shape))
    gradients = backend.conv2d_backward(gy, saved, (True, True, bias is not None))
    alone = backend.conv2d_backward(gy, saved, (False, True, False))[1]
    back = backend.conv_transpose2d(gy, weight, x.shape, window, groups)
    results = (y, *gradients, alone, back)
    return [None if a is None else on.to_numpy(a) for a in results]


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_equals_the_portable_twin(backend, case, bias, last):
    images, kernel, *geometry = CASES[case]
    x, weight = integers(0, *images), integers(1, *kernel)
    b = integers(2, kernel[0]) if bias else None
    groups = images[1] // kernel[1]
    portable = Backend(backend.xp, "portable", backend.backend.device)
    found = [
        results(backend, k, x, weight, b, (*geometry, groups), last)
        for k in (backend.backend, portable)
    ]
    for got, wanted in zip(*found, strict=True):
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("backend", ["numpy"], indirect=True)
def test_rows_equal_the_portable_twin_where_columns_would_serve(backend, case, monkeypatch):
    for limit in ("COLUMN_BYTES", "COLUMN_NUMBERS", "COLUMN_GROUP"):
        monkeypatch.setattr(thresholds, limit, 0)
    test_equals_the_portable_twin(backend, case, True, False)


@pytest.mark.parametrize("limit", ["COLUMN_BYTES", "COLUMN_NUMBERS"])
@pytest.mark.parametrize("backend", ["numpy", "jit"], indirect=True)
def test_columns_serve_up_to_their_limits(backend, monkeypatch, limit):
    """On both sides of each limit: which code answers, and that it answers right."""
    x, weight = integers(0, 2, 3, 6, 5), integers(1, 4, 3, 2, 2)
    window = Window((2, 2))
    numbers, at = 12, {"COLUMN_BYTES": 2 * 12 * 5 * 4 * 4, "COLUMN_NUMBERS": 12}[limit]
    assert weight[0].size == numbers
    twin = Backend(np, "portable")
    expected, kept = twin.conv2d(x, weight, None, window, 1)
    gradients = twin.conv2d_backward(expected, kept, (True, True, True))
    for most in (at - 1, at):
        monkeypatch.setattr(thresholds, limit, most)
        y, residuals = backend.backend.conv2d(x, weight, None, window, 1)
        by_columns = most == at and (limit == "COLUMN_BYTES" or backend.kind == "numpy")
        assert isinstance(residuals, columns.Columns) == by_columns
        found = backend.backend.conv2d_backward(expected, residuals, (True, True, True))
        for got, wanted in zip((y, *found), (expected, *gradients), strict=True):
            np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("groups", [1, 3])
def test_columns_are_for_few_numbers_or_small_groups(groups, monkeypatch):
    x, weight = integers(0, 2, 3, 6, 5), integers(1, 6, 3 // groups, 2, 2)
    arguments = weight, Window((2, 2)), groups
    assert columns.are_small(x, *arguments)
    assert not columns.are_small(x.astype("float16"), *arguments)
    assert not columns.are_small(x[:0], *arguments)
    monkeypatch.setattr(thresholds, "COLUMN_GROUP", 3)  # 4 numbers see one group's window
    assert columns.are_small(x, *arguments) == (groups == 1)


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("rows", [1, 31, 32, 33, 96, 101])
def test_products_in_pieces_are_products(rows, alone, monkeypatch):
    monkeypatch.setattr(pieces, "one_thread", lambda: alone)
    monkeypatch.setattr(pieces, "MULTIPLY_ADDS", 32 * 5 * 3)
    assert pieces.rows_of(5, 3) == 32
    a, b, g = (
        integers(0, 2, 8, rows, 5)[:, ::3],
        integers(1, 2, 1, 5, 3),
        integers(2, 2, 3, rows, 3),
    )
    out = np.full((2, 3, rows, 3), np.nan, a.dtype)
    pieces.product(a, b, out)
    np.testing.assert_array_equal(out, np.einsum("gpmk,gkn->gpmn", a, b[:, 0]))
    total = pieces.transposed_product(a, g)
    np.testing.assert_array_equal(total, np.einsum("gpmk,gpmn->gkn", a, g))


def test_a_blas_of_several_threads_gets_all_rows(monkeypatch):
    monkeypatch.undo()
    threadpoolctl = pytest.importorskip("threadpoolctl")
    for count in (1, 2):
        with threadpoolctl.threadpool_limits(count, user_api="blas"):
            found = threadpoolctl.threadpool_info()
            blas = [
                (one["internal_api"], one["num_threads"])
                for one in found
                if one["user_api"] == "blas"
            ]
            assert pieces.one_thread() == (set(blas) == {("openblas", 1)})
