"""Tensor: what it is, where it can go, operators and indexing as NumPy has them."""

from __future__ import annotations

import copy
import operator
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

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


# ---- indexing ----

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


# ---- in place ----

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
