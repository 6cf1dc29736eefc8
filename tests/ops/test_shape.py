"""Shapes: values as NumPy's, gradients as PyTorch's, and errors that give every shape."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pytorch import assert_same

import nnx
from nnx import ops

X = np.random.default_rng(4).standard_normal((2, 3, 4))
Y = np.random.default_rng(5).standard_normal((2, 3, 4))

AS_NUMPY = {
    "reshape": (lambda x: ops.reshape(x, (4, -1)), lambda x: x.reshape(4, -1)),
    "reshape to one": (lambda x: ops.reshape(x, -1), lambda x: x.reshape(-1)),
    "permute_dims": (lambda x: ops.permute_dims(x, (2, 0, -2)), lambda x: x.transpose(2, 0, 1)),
    "matrix_transpose": (ops.matrix_transpose, lambda x: x.swapaxes(1, 2)),
    "moveaxis": (lambda x: ops.moveaxis(x, -1, 0), lambda x: np.moveaxis(x, -1, 0)),
    "expand_dims": (lambda x: ops.expand_dims(x, -1), lambda x: x[..., None]),
    "expand_dims twice": (lambda x: ops.expand_dims(x, (0, 3)), lambda x: x[None, :, :, None]),
    "squeeze": (lambda x: ops.squeeze(ops.expand_dims(x, (1, 4))), lambda x: x),
    "broadcast_to": (lambda x: ops.broadcast_to(x, (5, 2, 3, 4)), lambda x: np.stack([x] * 5)),
    "flip": (ops.flip, lambda x: x[::-1, ::-1, ::-1]),
    "flip one": (lambda x: ops.flip(x, -1), lambda x: x[..., ::-1]),
    "roll": (lambda x: ops.roll(x, 5), lambda x: np.roll(x, 5)),
    "roll two": (lambda x: ops.roll(x, (1, -2), (0, 2)), lambda x: np.roll(x, (1, -2), (0, 2))),
    "repeat": (lambda x: ops.repeat(x, 3, axis=1), lambda x: np.repeat(x, 3, axis=1)),
    "tile": (lambda x: ops.tile(x, (2, 1)), lambda x: np.tile(x, (2, 1))),
    "tile more": (lambda x: ops.tile(x, (2, 1, 1, 2)), lambda x: np.tile(x, (2, 1, 1, 2))),
    "pad": (lambda x: ops.pad(x, 1), lambda x: np.pad(x, 1)),
    "pad value": (
        lambda x: ops.pad(x, ((0, 1), (2, 0), (0, 0)), value=7.0),
        lambda x: np.pad(x, ((0, 1), (2, 0), (0, 0)), constant_values=7.0),
    ),
    "pad reflect": (
        lambda x: ops.pad(x, ((1, 0), (2, 1), (0, 3)), "reflect"),
        lambda x: np.pad(x, ((1, 0), (2, 1), (0, 3)), "reflect"),
    ),
    "pad replicate": (
        lambda x: ops.pad(x, ((2, 1),) * 3, "replicate"),
        lambda x: np.pad(x, (2, 1), "edge"),
    ),
    "pad circular": (
        lambda x: ops.pad(x, ((2, 0), (0, 3), (1, 1)), "circular"),
        lambda x: np.pad(x, ((2, 0), (0, 3), (1, 1)), "wrap"),
    ),
}


@pytest.mark.parametrize("name", AS_NUMPY)
def test_values_are_numpys(backend, name):
    ours, numpys = AS_NUMPY[name]
    x = X.astype("float32")
    y = ours(nnx.Tensor(backend.strided(x)))
    np.testing.assert_array_equal(backend.to_numpy(y), numpys(x))


@settings(max_examples=60, deadline=None)
@given(
    x=hnp.arrays("f8", hnp.array_shapes(max_dims=4, max_side=4), elements=st.just(1.0)), d=st.data()
)
def test_there_and_back(x, d):
    """Operations that undo each other, on any shape."""
    x = np.arange(x.size, dtype="f8").reshape(x.shape)
    t = nnx.Tensor(x)
    axis = d.draw(st.integers(-x.ndim, x.ndim - 1))
    axes = d.draw(st.permutations(range(x.ndim)))
    same = [
        ops.permute_dims(ops.permute_dims(t, axes), np.argsort(axes).tolist()),
        ops.reshape(ops.reshape(t, -1), x.shape),
        ops.flip(ops.flip(t, axis), axis),
        ops.roll(ops.roll(t, 3, axis), -3, axis),
        ops.squeeze(ops.expand_dims(t, axis), axis),
        ops.stack(ops.unstack(t, axis), axis),
        ops.concat(ops.split(t, [x.shape[axis] // 2], axis), axis),
        ops.pad(t, 2)[(slice(2, -2),) * x.ndim],
        ops.moveaxis(ops.moveaxis(t, axis, 0), 0, axis),
    ]
    for y in same:
        np.testing.assert_array_equal(y.data, x)


def test_joining_and_cutting(backend):
    torch = pytest.importorskip("torch")
    for axis in (0, 1, -1):
        assert_same(
            backend,
            lambda *xs, a=axis: ops.concat(xs, a),
            lambda *xs, a=axis: torch.cat(xs, a),
            X,
            Y,
        )
        assert_same(
            backend,
            lambda *xs, a=axis: ops.stack(xs, a),
            lambda *xs, a=axis: torch.stack(xs, a),
            X,
            Y,
        )
        assert_same(
            backend, lambda x, a=axis: ops.unstack(x, a), lambda x, a=axis: torch.unbind(x, a), X
        )
    assert_same(
        backend,
        lambda x: ops.split(x, [1, 3], axis=2),
        lambda x: torch.tensor_split(x, (1, 3), dim=2),
        X,
    )
    assert_same(
        backend, lambda x: ops.split(x, 2, axis=-1), lambda x: torch.tensor_split(x, 2, dim=-1), X
    )


def test_the_same_tensor_twice(backend):
    x = backend.tensor(X.astype("float32"), requires_grad=True)
    (ops.concat([x, x * 2, x]) + 0.0).sum().backward()
    np.testing.assert_array_equal(backend.to_numpy(x.grad), np.full_like(X, 4))


def test_concat_of_two_dtypes(backend):
    backend.skip_without_float64()
    a = backend.tensor(np.ones(2, "float32"), requires_grad=True)
    b = backend.tensor(np.ones(3, "float64"), requires_grad=True)
    y = ops.concat([a, b])
    y.sum().backward()
    assert y.dtype == b.dtype and a.grad.dtype == a.dtype and b.grad.dtype == b.dtype


def test_where_and_clip(backend):
    torch = pytest.importorskip("torch")
    assert_same(
        backend, lambda a, b: ops.where(a > b, a, b * b), lambda a, b: torch.where(a > b, a, b * b),
        X, Y[:1],
    )  # fmt: skip
    assert_same(
        backend, lambda a: ops.where(a > 0, a, 2.0), lambda a: torch.where(a > 0, a, 2.0), X
    )
    for low, high in [(-0.5, 0.5), (None, 0.5), (-0.5, None), (0.5, -0.5)]:
        assert_same(
            backend,
            lambda x, a=low, b=high: ops.clip(x, a, b),
            lambda x, a=low, b=high: torch.clip(x, a, b),
            X,
        )
    assert_same(backend, lambda x: ops.clip(x, 0.0, 1.0), lambda x: torch.clip(x, 0.0, 1.0),
                [-1.0, 0.0, 0.5, 1.0, 2.0])  # fmt: skip
    low, high = np.where(X[0] > 0, -0.2, 0.9), np.full((3, 4), 0.4)
    assert_same(backend, ops.clip, torch.clip, X[0], low, high)


def test_where_of_two_numbers(backend):
    mask = nnx.Tensor(backend.asarray(np.asarray([True, False])))
    y = ops.where(mask, 1.0, 0)
    assert y.dtype == backend.backend.dtype("float32")
    assert y.tolist() == [1, 0] and ops.where(mask, 3, 4).tolist() == [3, 4]


def test_take(backend):
    torch = pytest.importorskip("torch")
    i, j = [2, 0, 2, -1], [[0, 3], [1, 1], [-1, 2]]
    wrapped = torch.tensor([2, 0, 2, 2])
    assert_same(
        backend,
        lambda x: ops.take(x, i, axis=1),
        lambda x: torch.index_select(x, 1, wrapped),
        X,
    )
    positive = torch.tensor([[0, 3], [1, 1], [3, 2]])
    assert_same(
        backend,
        lambda x: ops.take_along_axis(x, j, axis=-1),
        lambda x: torch.take_along_dim(x, positive, dim=-1),
        X[0],
    )
    order = ops.argsort(backend.tensor(X), axis=1, descending=True)
    y = ops.take_along_axis(backend.tensor(X), order, axis=1)
    np.testing.assert_allclose(backend.to_numpy(y), -np.sort(-X, axis=1), rtol=1e-6)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_an_empty_axis_that_is_not_padded(backend, mode):
    x = backend.tensor(np.zeros((0, 3), "f4"), requires_grad=True)
    y = ops.pad(x, ((0, 0), (1, 2)), mode)
    y.sum().backward()
    assert y.shape == (0, 6) and x.grad.shape == (0, 3)
    with pytest.raises(ValueError, match="can add at most 0 to an axis of 0"):
        ops.pad(x, ((1, 0), (0, 0)), mode)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda x: ops.reshape(x, (5, -1)), r"24 values of shape \(2, 3, 4\).*\(5, -1\)"),
        (lambda x: ops.reshape(x, (-1, -1)), r"reshape: 24 values"),
        (lambda x: ops.permute_dims(x, (0, 1)), r"each of the 3 axes once; axes \(0, 1\)"),
        (lambda x: ops.permute_dims(x, (0, 1, 1)), "names an axis twice"),
        (lambda x: ops.squeeze(x, 1), r"only an axis of length 1.*axis 1, shape \(2, 3, 4\)"),
        (lambda x: ops.expand_dims(x, 5), "expand_dims: axis 5 is out of range"),
        (lambda x: ops.broadcast_to(x, (3, 3, 4)), r"broadcast_to.*\(2, 3, 4\)"),
        (lambda x: ops.broadcast_to(x, (4,)), r"shape \(2, 3, 4\) cannot become \(4,\)"),
        (lambda x: ops.matrix_transpose(x[0, 0]), r"two axes or more; shape \(4,\)"),
        (lambda x: ops.flip(x, 3), "flip: axis 3 is out of range"),
        (lambda x: ops.concat([]), "no tensors"),
        (lambda x: ops.concat([x, x[0]]), r"\(2, 3, 4\), \(3, 4\)"),
        (lambda x: ops.concat([x, x[:, :2]]), r"except along axis 0; shapes.*\(2, 2, 4\)"),
        (lambda x: ops.stack([]), "no tensors"),
        (lambda x: ops.stack([x, x[:1]]), r"the same; shapes \(2, 3, 4\), \(1, 3, 4\)"),
        (lambda x: ops.split(x, 2, axis=1), r"length 3 cannot be cut into 2 equal"),
        (lambda x: ops.split(x, [3, 1], axis=2), r"rise from 0 to 4; positions \[3, 1\]"),
        (lambda x: ops.pad(x, ((1, 1), (1, 1))), r"each of the 3 axes.*\(2, 3, 4\)"),
        (lambda x: ops.pad(x, (1, 2)), r"means .* is \[\(0, 0\), \(0, 0\), \(1, 2\)\]$"),
        (
            lambda x: ops.pad(x, (1, 2, 3, 4)),
            r"pad_width \(1, 2, 3, 4\).* is \[\(0, 0\), \(3, 4\), \(1, 2\)\]$",
        ),
        (lambda x: ops.pad(x, (1, 2, 3)), r"x has shape \(2, 3, 4\)$"),
        (lambda x: ops.pad(x, [(1, 2)]), r"x has shape \(2, 3, 4\)$"),
        (lambda x: ops.pad(x, -1), "must not be negative"),
        (lambda x: ops.pad(x, 1, "mirror"), "mode 'mirror' is not one of constant, reflect"),
        (lambda x: ops.pad(x, 2, "reflect"), "can add at most 1 to an axis of 2"),
        (lambda x: ops.take(x, [0]), "axis must be given"),
        (lambda x: ops.take(x, [[0]], axis=0), r"one axis; their shape is \(1, 1\)"),
        (lambda x: ops.take_along_axis(x, [[0]], axis=0), r"x \(2, 3, 4\), indices \(1, 1\)"),
        (lambda x: ops.clip(x, x[:, :2]), r"clip: .*\(2, 3, 4\), \(2, 2, 4\)"),
        (lambda x: ops.where(x > 0, x, x[:, :2]), r"where: .*\(2, 2, 4\)"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call(nnx.tensor(X))


def test_a_condition_is_boolean():
    x = nnx.tensor(X)
    with pytest.raises(TypeError, match="where: the condition must be of dtype bool, not float64"):
        ops.where(x, x, x)
