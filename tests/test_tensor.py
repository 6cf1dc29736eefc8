"""Tensor: what it is, where it can go, and operators as NumPy has them."""

from __future__ import annotations

import copy
import operator
import warnings

import numpy as np
import pytest

import nnx
from nnx import ops

X = np.arange(24, dtype="float32").reshape(2, 3, 4) - 7


def test_what_it_says_of_itself(backend):
    t = backend.tensor(X)
    assert t.shape == (2, 3, 4) and t.ndim == 3 and t.size == 24 and len(t) == 2
    assert t.dtype == t.data.dtype and t.device == t.data.device
    assert nnx.Tensor(backend.asarray(np.float32(3))).size == 1


def test_repr():
    t = nnx.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert repr(t) == "tensor([[1., 2.],\n        [3., 4.]], dtype=float32)"
    assert repr(nnx.tensor([1, 2])) == "tensor([1, 2], dtype=int64)"
    x = nnx.tensor(2.5, requires_grad=True)
    assert repr(x) == "tensor(2.5, dtype=float32, requires_grad=True)"
    assert repr(x * 2) == "tensor(5., dtype=float32, made_by=Multiply)"
    strict = pytest.importorskip("array_api_strict")
    assert "backend=array_api_strict" in repr(nnx.Tensor(strict.ones(2)))
    assert len(repr(nnx.zeros((1000, 1000)))) < 1000


def test_tensor_makes_float32_of_python_floats():
    assert nnx.tensor([1.0, 2.0]).dtype == np.float32
    assert nnx.tensor([1, 2]).dtype == np.int64
    assert nnx.tensor([True]).dtype == bool
    assert nnx.tensor(np.ones(2)).dtype == np.float64, "arrays keep their dtype"
    assert nnx.tensor([1, 2], dtype="float64").dtype == np.float64
    assert nnx.tensor(nnx.tensor([1.0])).dtype == np.float32


def test_tensor_copies_and_Tensor_does_not():
    x = np.ones(3, "f4")
    assert nnx.Tensor(x).data is x
    t = nnx.tensor(x)
    x[0] = 5
    assert t.data[0] == 1
    assert nnx.Tensor(t).data is t.data
    assert type(nnx.Tensor(np.float32(2)).data) is np.ndarray


def test_tensor_is_made_on_the_active_backend(backend):
    t = nnx.tensor([[1.0, 2.0]])
    assert type(t.data) is type(backend.asarray(X)) and t.device == backend.asarray(X).device
    again = nnx.tensor(backend.asarray(X))
    np.testing.assert_array_equal(backend.to_numpy(again), X)


@pytest.mark.parametrize("make", [nnx.Tensor, nnx.nn.Parameter])
@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("data", [[[1.0]], (1, 2), 1.0, 3, "one", None])
def test_what_is_no_array_is_refused_at_the_door(make, requires_grad, data):
    """And not where it is first computed with; the message says what makes tensors of such."""
    message = rf"expected an array.*{type(data).__name__}.*nnx\.tensor\("
    with pytest.raises(TypeError, match=message):
        make(data, requires_grad)


def test_only_floats_can_require_a_gradient():
    for make in (lambda: nnx.Tensor(np.arange(3), True), lambda: nnx.tensor([1, 2], None, True)):
        with pytest.raises(TypeError, match=r"only floating-point tensors.*int64"):
            make()
    t = nnx.tensor([1, 2])
    with pytest.raises(TypeError, match="floating-point"):
        t.requires_grad_()


def test_requires_grad_and_detach():
    x = nnx.tensor([1.0, 2.0])
    assert x.requires_grad_() is x and x.requires_grad
    y = x * 2
    with pytest.raises(RuntimeError, match="only a leaf"):
        y.requires_grad_(False)
    with pytest.raises(RuntimeError, match=r"only a leaf .* shape \(2,\) was made by Multiply"):
        y.requires_grad = False
    y.requires_grad = True  # as it is
    with pytest.raises(TypeError, match="only floating-point tensors"):
        nnx.tensor([1, 2]).requires_grad = True
    nnx.sum(y * y).backward()
    np.testing.assert_array_equal(x.grad, [8, 16])
    d = y.detach()
    assert d.data is y.data and not d.requires_grad and d.creator is None
    x.requires_grad_(False)
    assert not (x * 2).requires_grad


# ---- to other places ----


def test_item_tolist_float_int_bool(backend):
    t = backend.tensor(np.asarray([[2.5]], "float32"))
    assert t.item() == 2.5 and isinstance(t.item(), float) and t.tolist() == [[2.5]]
    s = backend.tensor(np.asarray(2.5, "float32"))
    assert float(s) == 2.5 and int(s) == 2 and bool(s)
    assert backend.tensor(np.asarray([3, 4])).tolist() == [3, 4]
    with pytest.raises(ValueError, match=r"one element.*\(2, 3, 4\)"):
        backend.tensor(X).item()


def test_numpy_shares_where_it_can_and_refuses_the_tape():
    x = np.ones(3, "f4")
    assert nnx.Tensor(x).numpy() is x
    with pytest.raises(RuntimeError, match=r"detach\(\)\.numpy\(\)"):
        nnx.Tensor(x, requires_grad=True).numpy()


def test_numpy_from_every_backend(backend):
    host = backend.tensor(X).numpy()
    assert type(host) is np.ndarray and host.dtype == np.float32
    np.testing.assert_array_equal(host, X)


def test_asarray_is_honest():
    x = np.ones((2, 2), "f4")
    assert np.asarray(nnx.Tensor(x)) is x or np.shares_memory(np.asarray(nnx.Tensor(x)), x)
    assert np.asarray(nnx.Tensor(x), dtype="f8").dtype == np.float64
    assert not np.shares_memory(np.array(nnx.Tensor(x), copy=True), x)
    with pytest.raises(RuntimeError, match="detach"):
        np.asarray(nnx.Tensor(x, requires_grad=True))
    strict = pytest.importorskip("array_api_strict")
    with pytest.raises(TypeError, match="move it silently"):
        np.asarray(nnx.Tensor(strict.ones(2)))


@pytest.mark.parametrize("library", ["torch", "array_api_strict"])
def test_to_another_backend_and_back(library):
    pytest.importorskip(library)
    x = nnx.tensor(X, requires_grad=True)
    there = x.to(library)
    assert type(there.data).__module__.split(".")[0] == library and there.requires_grad
    back = there.to("numpy")
    np.testing.assert_array_equal(back.data, X)
    assert back.dtype == np.float32 and back.creator is None
    assert x.to("numpy") is x, "already there"


def test_to_an_unknown_backend():
    with pytest.raises(ValueError, match="no module named 'numpi'"):
        nnx.tensor([1.0]).to("numpi")


def test_dlpack_with_numpy():
    t = nnx.tensor(X)
    host = np.from_dlpack(t)
    assert np.shares_memory(host, t.data)
    back = nnx.from_dlpack(host)
    assert np.shares_memory(back.data, t.data)
    assert t.__dlpack_device__() == t.data.__dlpack_device__()
    with pytest.raises(BufferError, match="detach"):
        np.from_dlpack(nnx.tensor(X, requires_grad=True))


def test_dlpack_with_torch():
    torch = pytest.importorskip("torch")
    t = nnx.tensor(X)
    theirs = torch.from_dlpack(t)
    theirs[0, 0, 0] = 99.0
    assert t.data[0, 0, 0] == 99.0, "the memory is shared"
    ours = nnx.from_dlpack(torch.arange(4, dtype=torch.float64))
    assert type(ours.data) is np.ndarray and ours.dtype == np.float64
    np.testing.assert_array_equal(ours.data, [0, 1, 2, 3])


# ---- operators ----

BINARY = ["add", "sub", "mul", "truediv", "pow", "eq", "ne", "lt", "le", "gt", "ge"]


@pytest.mark.parametrize("name", BINARY)
def test_binary_operators_are_numpys(backend, name):
    f = getattr(operator, name)
    a, b = np.abs(X) + 1, np.abs(X[::-1]) / 2 + 1
    ta, tb = backend.tensor(a), backend.tensor(b)
    for ours, numpys in [
        (f(ta, tb), f(a, b)),
        (f(ta, 2), f(a, 2)),
        (f(2.5, ta), f(np.float32(2.5), a)),
        (f(ta, np.float64(2.5)), f(a, np.float32(2.5))),
    ]:
        assert isinstance(ours, nnx.Tensor)
        host = backend.to_numpy(ours)
        assert host.dtype == numpys.dtype
        np.testing.assert_allclose(host, numpys, rtol=1e-6)


def test_other_operators(backend):
    a, m = X[0], X[1].T
    ta, tm = backend.tensor(a), backend.tensor(m)
    np.testing.assert_array_equal(backend.to_numpy(ta @ tm), a @ m)
    np.testing.assert_array_equal(backend.to_numpy(-ta), -a)
    np.testing.assert_array_equal(backend.to_numpy(abs(ta)), np.abs(a))
    assert +ta is ta
    yes, no = ta > 0, ta > 2
    np.testing.assert_array_equal(backend.to_numpy(yes & ~no), (a > 0) & ~(a > 2))
    np.testing.assert_array_equal(backend.to_numpy(no | yes), a > 0)
    assert bool((ta == ta).all()) and not bool((ta != ta).any())


def test_numpy_on_the_left_asks_the_tensor():
    t = nnx.tensor([1.0, 2.0], requires_grad=True)
    for y in (np.float32(2) * t, np.float64(2) * t, np.ones(2, "f4") * t):
        assert isinstance(y, nnx.Tensor) and y.requires_grad and y.dtype == np.float32
    m = nnx.tensor(np.eye(2, dtype="f4"), requires_grad=True)
    assert (np.ones((2, 2), "f4") @ m).requires_grad


def test_the_tensor_s_methods_are_the_operations(backend):
    a = np.abs(X) + 1
    t = backend.tensor(a)
    pairs = [
        (t.sum(axis=1), a.sum(axis=1)),
        (t.mean(), a.mean()),
        (t.max(axis=-1), a.max(axis=-1)),
        (t.min(keepdims=True), a.min(keepdims=True)),
        (t.prod(axis=0), a.prod(axis=0)),
        (t.var(axis=1, correction=1), a.var(axis=1, ddof=1)),
        (t.std(), a.std()),
        (t.argmax(axis=2), a.argmax(axis=2)),
        (t.argmin(), a.argmin()),
        (t.reshape(3, -1), a.reshape(3, -1)),
        (t.reshape((4, 6)), a.reshape(4, 6)),
        (t.permute_dims(2, 0, 1), a.transpose(2, 0, 1)),
        (t[0].T, a[0].T),
        (t.mT, a.swapaxes(1, 2)),
        (t.exp(), np.exp(a)),
        (t.log(), np.log(a)),
        (t.sqrt(), np.sqrt(a)),
        (t.tanh(), np.tanh(a)),
        (t.clip(2, 5), a.clip(2, 5)),
        (t.expand_dims(1).squeeze(1), a),
        (t.astype("int64"), a.astype("int64")),
    ]
    for ours, numpys in pairs:
        np.testing.assert_allclose(backend.to_numpy(ours), numpys, rtol=2e-6)
    with pytest.raises(ValueError, match=r"must be a matrix; shape \(2, 3, 4\)"):
        t.T  # noqa: B018


def test_deepcopy_is_for_leaves():
    x = nnx.tensor(X, requires_grad=True)
    (x * 2).sum().backward()
    twin = copy.deepcopy(x)
    np.testing.assert_array_equal(twin.data, x.data)
    np.testing.assert_array_equal(twin.grad, x.grad)
    assert twin.requires_grad and not np.shares_memory(twin.data, x.data)
    with pytest.raises(RuntimeError, match=r"shape \(2, 3, 4\) was made by Multiply; copy detach"):
        copy.deepcopy(x * 2)


def test_tensors_can_be_keys():
    a, b = nnx.tensor([1.0]), nnx.tensor([1.0])
    assert {a: 1, b: 2}[b] == 2 and len({a, b, a}) == 2


# ---- creation ----

CLASSES = np.asarray([[0, 2], [1, 5]])


def test_creation_on_the_active_backend(backend):
    for ours, numpys in [
        (nnx.zeros((2, 3)), np.zeros((2, 3), "f4")),
        (nnx.ones(3), np.ones(3, "f4")),
        (nnx.full([2], 7, dtype="int64"), np.full(2, 7)),
        (nnx.full([2], 7), np.full(2, 7)),
        (nnx.full(2, 7.0), np.full(2, 7, "f4")),
        (nnx.full(2, np.float64(7)), np.full(2, 7, "f4")),
        (nnx.full((), True), np.full((), True)),
        (nnx.arange(4), np.arange(4)),
        (nnx.arange(1, 2, 0.25), np.arange(1, 2, 0.25, "f4")),
        (nnx.arange(5, 1, -2), np.arange(5, 1, -2)),
        (nnx.linspace(0, 1, 5), np.linspace(0, 1, 5, dtype="f4")),
        (nnx.eye(2, 3), np.eye(2, 3, dtype="f4")),
        (nnx.zeros_like(backend.tensor(X)), np.zeros_like(X)),
        (nnx.ones_like(backend.tensor(X), dtype="int64"), np.ones_like(X, dtype="i8")),
        (nnx.full_like(backend.tensor(X), 2.5), np.full_like(X, 2.5)),
        (
            ops.one_hot(backend.tensor([[0, 2], [1, 2]]), 3),
            np.eye(3, 3, dtype="f4")[[[0, 2], [1, 2]]],
        ),
    ]:
        host = backend.to_numpy(ours)
        assert host.dtype == numpys.dtype
        np.testing.assert_allclose(host, numpys, rtol=1e-6)
        assert ours.device == backend.asarray(X).device
    assert nnx.ones(2, requires_grad=True).requires_grad


def test_nothing_here_warns():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nnx.tensor([1.0]) == nnx.tensor([1])  # noqa: B015
