"""Changing a tensor in place: a leaf inside `no_grad`, and a value on the tape."""

from __future__ import annotations

import operator

import numpy as np
import pytest

import nnx

X = np.arange(24, dtype="float32").reshape(2, 3, 4) - 7
IN_PLACE = {
    "iadd": [3.0, -1.0],
    "isub": [3.0, -1.0],
    "imul": [3.0, -1.0],
    "itruediv": [3.0, -1.0],
    "ipow": [3.0, 2.0],
    "imatmul": [[1.0, 2.0], [3.0, 4.0]],
}


@pytest.mark.parametrize("name", IN_PLACE)
def test_a_leaf_is_changed_in_place_inside_no_grad_only(backend, name):
    change = getattr(operator, name)
    start = np.asarray([[1.0, 2.0], [4.0, 3.0]], "f4")
    other = np.asarray(IN_PLACE[name], "f4")
    leaf = backend.tensor(start, requires_grad=True)
    array, alias = leaf.data, leaf
    with pytest.raises(RuntimeError, match=r"a leaf that requires a gradient \(shape \(2, 2\)\)"):
        change(leaf, backend.tensor(other))
    np.testing.assert_array_equal(backend.to_numpy(leaf), start)
    with nnx.no_grad():
        assert change(leaf, backend.asarray(other)) is leaf
    expected = change(start.copy(), other) if name != "imatmul" else start @ other
    np.testing.assert_allclose(backend.to_numpy(alias), expected, rtol=1e-6)
    assert leaf.requires_grad and leaf.creator is None and leaf.dtype == array.dtype
    np.testing.assert_array_equal(backend.to_numpy(array), start)  # nobody's array was written


@pytest.mark.parametrize("name", IN_PLACE)
def test_on_the_tape_in_place_is_pytorchs(name):
    """The values and gradients, and who else sees the change."""
    torch = pytest.importorskip("torch")
    change = getattr(operator, name) if name != "imatmul" else lambda a, b: a
    start, other = np.asarray([[1.0, 2.0], [4.0, 3.0]]), np.asarray(IN_PLACE[name])
    results = []
    for tensor in (
        lambda x: nnx.tensor(x, requires_grad=True),
        lambda x: torch.tensor(x, requires_grad=True),
    ):
        x, w = tensor(start), tensor(other)
        y = x * 3
        alias = y
        y = change(y, w)
        assert y is alias
        (y * y).sum().backward()
        grads = [g if isinstance(g, np.ndarray | None) else g.numpy() for g in (x.grad, w.grad)]
        results.append([y.detach().numpy(), *grads])
    for ours, theirs in zip(*results, strict=True):
        if theirs is None:
            assert ours is None
        else:
            np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_matmul_in_place_on_the_tape():
    x, w = nnx.tensor(np.eye(2) * 3.0, requires_grad=True), nnx.tensor([[1.0, 2.0], [3.0, 4.0]])
    y = x * 2
    alias = y
    y @= w.astype("float64")
    assert y is alias
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, [[6, 14], [6, 14]])


def test_what_was_kept_for_backward_is_not_changed_in_place():
    """PyTorch refuses the last line; here the old values are kept, and the gradient is theirs."""
    x = nnx.tensor([1.0, 2.0], requires_grad=True)
    y = nnx.exp(x)
    before = y.data.copy()
    z = y * y
    y += 1.0
    (z.sum() + y.sum()).backward()
    np.testing.assert_allclose(x.grad, 2 * before * before + before, rtol=1e-6)


def test_a_sum_is_collected_in_place():
    x = nnx.tensor([1.0, 2.0], requires_grad=True)
    total = nnx.zeros(())
    for k in range(3):
        total += (x * k).sum()
    total.backward()
    np.testing.assert_array_equal(x.grad, [3, 3])


def test_the_gradient_asked_for_is_of_the_tensor_as_it_is_now():
    x = nnx.tensor([1.0, 2.0], requires_grad=True)
    y = x * 3
    y.retain_grad()
    y *= 2.0
    (y * y).sum().backward()
    np.testing.assert_array_equal(y.grad, 2 * y.data)


def test_in_place_keeps_shape_and_dtype(backend):
    x = backend.tensor(X)
    x += backend.asarray(np.ones(4, "int32"))
    assert x.dtype == backend.asarray(X).dtype
    with pytest.raises(ValueError, match=r"\+=: the result has shape \(2, 3, 4\).*has \(4,\)"):
        y = backend.tensor(np.ones(4, "f4"))
        y += x
    counts = backend.tensor(np.asarray([1, 2]))
    alias = counts
    counts *= 2
    assert alias.tolist() == [2, 4]
    for change in (operator.iadd, operator.itruediv):
        with pytest.raises(TypeError, match=r"=: the result is of float32.* int64, cannot hold"):
            change(counts, 1.5)
    flags = backend.tensor(np.asarray([True, False]))
    alias = flags
    flags |= backend.tensor(np.asarray([False, False]))
    flags &= ~flags
    assert alias.tolist() == [False, False]


def test_copy_takes_values_of_any_kind(backend):
    x = backend.tensor(X, requires_grad=True)
    with pytest.raises(RuntimeError, match="copy_: a leaf that requires a gradient"):
        x.copy_(0.0)
    with nnx.no_grad():
        for values, host in (
            (X + 1, X + 1),
            ((X[0, 0] * 2).tolist(), X[0, 0] * 2),
            (3.0, np.asarray(3.0)),
            (backend.asarray(X), X),
            (backend.tensor(X * 5), X * 5),
        ):
            assert x.copy_(values) is x
            np.testing.assert_array_equal(backend.to_numpy(x), np.broadcast_to(host, X.shape))
        given = backend.tensor(X)
        x.copy_(given)
        assert x.data is not given.data
        with pytest.raises(ValueError, match=r"broadcast_to.*\(2,\)"):
            x.copy_(np.ones(2, "f4"))
        with pytest.raises(TypeError, match="copy_: the result is of float32"):
            backend.tensor(np.asarray([1, 2])).copy_(1.5)
    source = backend.tensor(np.ones(4, "f4"), requires_grad=True)
    y = nnx.Tensor(backend.asarray(X))
    y.copy_(source)
    (y * y).sum().backward()
    np.testing.assert_array_equal(backend.to_numpy(source.grad), [12, 12, 12, 12])


def test_values_from_elsewhere_are_cast_and_moved(backend):
    """A device need not know their dtype, and the tensor stays where it is."""
    host = np.asarray([[1.5, 2.0, -3.0]] * 2)
    for values in (host, nnx.Tensor(host), host.tolist(), host.astype("int64"), np.float64(2.5), 3):
        expected = np.broadcast_to(np.asarray(getattr(values, "data", values)), (2, 3))
        for change in (
            lambda x, values: x.copy_(values),
            lambda x, values: operator.setitem(x, slice(None), values),
        ):
            x = backend.tensor(np.zeros((2, 3), "f4"))
            before = type(x.data), x.dtype, x.device
            change(x, values)
            assert (type(x.data), x.dtype, x.device) == before
            np.testing.assert_array_equal(backend.to_numpy(x), expected)
    if type(backend.asarray(X)) is np.ndarray:
        return
    with pytest.raises(TypeError, match=r"^copy_: .* float64, which .* of int32, cannot hold"):
        backend.tensor(np.ones(3, "i4")).copy_(host[0])
    x = backend.tensor(X[0, 0])
    with pytest.raises(TypeError, match="two libraries in one call"):  # its gradient would be lost
        x.copy_(nnx.Tensor(np.ones(4, "f4"), requires_grad=True) * 2)
