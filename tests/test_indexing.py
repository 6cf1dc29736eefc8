"""Indexing a tensor as NumPy does, and assigning to what an index names."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import nnx

X = np.arange(24, dtype="float32").reshape(2, 3, 4) - 7


KEYS = [
    0,
    -1,
    (1, 2, 3),
    slice(None),
    slice(None, None, -1),
    (slice(0, 5), slice(2, 0, -1)),
    (slice(3, 1), 1),
    (slice(-9, 9, 2), ..., slice(None, -1)),
    None,
    (..., None),
    (1, None, slice(1, None), None, -2),
    ...,
    (..., 0),
]
FANCY = [
    [0, 1, 0],
    [[0, -1], [1, 1]],
    (slice(None), [2, 0]),
    (0, [2, 0]),
    ([1, 0], 2),
    ([1, 0], [2, 1], [3, -4]),
    ([[1], [0]], [2, 1]),
    ([1, 0], slice(None), [3, 0]),
    (slice(None), [1, 0], [3, 0]),
    (slice(None), 1, [3, 0]),
    (1, slice(None), [3, 0]),
    (None, [1, 0], ..., slice(0, 2)),
    ([1], None, [0]),
    ([], slice(None)),
]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_slices_are_numpys(backend, key):
    np.testing.assert_array_equal(backend.to_numpy(backend.tensor(X)[key]), X[key])


@pytest.mark.parametrize("key", FANCY, ids=str)
def test_integer_arrays_are_numpys(backend, key):
    t = nnx.Tensor(backend.strided(X))
    empty = key == ([], slice(None))
    expected = X[(np.zeros(0, int), slice(None))] if empty else X[key]
    np.testing.assert_array_equal(backend.to_numpy(t[key]), expected)
    if not empty:
        parts = key if isinstance(key, tuple) else (key,)
        arrays = [
            nnx.Tensor(backend.asarray(np.asarray(p))) if isinstance(p, list) else p for p in parts
        ]
        np.testing.assert_array_equal(backend.to_numpy(t[tuple(arrays)]), expected)


def test_masks_are_numpys(backend):
    t, mask = backend.tensor(X), X > 2
    np.testing.assert_array_equal(backend.to_numpy(t[t > 2]), X[mask])
    np.testing.assert_array_equal(backend.to_numpy(t[backend.asarray(mask)]), X[mask])
    for key in [(0, mask[0]), (slice(None), mask[0, :, 0]), (..., mask[1, 1]), mask[:, :, 0]]:
        ours = tuple(backend.asarray(k) if isinstance(k, np.ndarray) else k for k in np_tuple(key))
        np.testing.assert_array_equal(backend.to_numpy(t[ours]), X[key])
    nothing = t[t > 1e9]
    assert nothing.shape == (0,)


def np_tuple(key):
    return key if isinstance(key, tuple) else (key,)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_any_basic_or_integer_key(data):
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=4, max_side=4))
    x = np.arange(np.prod(shape), dtype="f8").reshape(shape)
    if data.draw(st.booleans()):
        key = data.draw(hnp.basic_indices(shape, allow_newaxis=True))
    else:
        key = data.draw(hnp.integer_array_indices(shape))
    t = nnx.Tensor(x, requires_grad=True)
    expected = x[key]
    y = t[key]
    np.testing.assert_array_equal(y.data, expected)
    g = np.arange(1.0, expected.size + 1).reshape(expected.shape)
    y.backward(g)
    wanted = np.zeros(shape)
    np.add.at(wanted, key, g)
    np.testing.assert_array_equal(t.grad, wanted)


def test_repeated_indices_add_up(backend):
    t = backend.tensor(np.zeros((4, 2), "float32"), requires_grad=True)
    t[[1, 3, 1, 1]].sum().backward()
    np.testing.assert_array_equal(backend.to_numpy(t.grad), [[0, 0], [3, 3], [0, 0], [1, 1]])


@pytest.mark.parametrize(
    "key, message",
    [
        (2, "index 2 is out of range for axis 0 of length 2"),
        ((0, 0, -5), "index -5 is out of range for axis 2 of length 4"),
        ((0, 0, 0, 0), r"too many indices: 4 for the 3 axes of shape \(2, 3, 4\)"),
        ((..., 0, ...), "only one Ellipsis"),
        (1.5, r"an index is an integer.*not 1\.5"),
        ("a", "an index is an integer"),
        (True, "an index is an integer"),
        ([0, 2], "index 2 is out of range for an axis of length 2"),
        ([0.5], "integers or booleans"),
        (np.ones((2, 2), bool), r"mask \(2, 2\), axes \(2, 3\)"),
        ((slice(None), np.ones(2, bool)), r"mask \(2,\), axes \(3,\)"),
        ((0, 0, 0, np.ones(2, int)), "too many indices"),
        (([0], 7), "index 7 is out of range for axis 1"),
    ],
)
def test_bad_keys(key, message):
    with pytest.raises(IndexError, match=message):
        nnx.tensor(X)[key]


def test_iteration(backend):
    t = backend.tensor(X, requires_grad=True)
    rows = list(t)
    assert len(rows) == 2
    np.testing.assert_array_equal(backend.to_numpy(rows[1]), X[1])
    (rows[0] * 2).sum().backward()
    expected = np.zeros_like(X)
    expected[0] = 2
    np.testing.assert_array_equal(backend.to_numpy(t.grad), expected)
    first, second = backend.tensor(X)
    assert first.shape == second.shape == (3, 4)


def test_a_scalar_has_no_length():
    s = nnx.tensor(1.0)
    with pytest.raises(TypeError, match=r"len\(\)"):
        len(s)
    with pytest.raises(TypeError, match="iteration"):
        list(s)


def test_assignment(backend):
    x = backend.asarray(X)
    t = nnx.Tensor(x)
    t[0] = 5.0
    t[1, 1:, 0] = backend.tensor(np.asarray([8.0, 9.0], "float32"))
    expected = X.copy()
    expected[0], expected[1, 1:, 0] = 5, [8, 9]
    np.testing.assert_array_equal(backend.to_numpy(t), expected)
    np.testing.assert_array_equal(backend.to_numpy(x), X)
    t[t > 6] = 0.0
    np.testing.assert_array_equal(backend.to_numpy(t), np.where(expected > 6, 0, expected))


def test_assignment_on_the_tape_is_refused():
    x = nnx.tensor(X, requires_grad=True)
    for t in (x, x * 2):
        with pytest.raises(RuntimeError, match=r"in-place assignment.*nnx\.where"):
            t[0] = 1.0
        with nnx.no_grad():
            t[0] = 1.0
        assert t.data[0, 0, 0] == 1 and t.requires_grad
    t = (x * 2).detach()
    t[0] = 1.0
    assert t.data[0, 0, 0] == 1
    with pytest.raises(RuntimeError, match=r"in-place assignment of a tensor on the tape \(sh"):
        t[0] = x[0]
    t[0] = x[0].detach()
