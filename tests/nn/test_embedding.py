"""nn.Embedding and ops.embedding."""

from __future__ import annotations

import numpy as np
import pytest
from gradients import check_gradients

import nnx
from nnx import nn, ops


@pytest.mark.parametrize("shape", [(6,), (2, 3), (0,), (2, 0, 3)])
@pytest.mark.parametrize("dtype", ["int64", "int32"])
def test_values_and_gradient(backend, shape, dtype):
    rng = np.random.default_rng(0)
    table = rng.standard_normal((5, 4)).astype("float32")
    indices = rng.integers(0, 5, shape).astype(dtype)
    weight = backend.tensor(table, requires_grad=True)
    y = ops.embedding(weight, nnx.Tensor(backend.asarray(indices)))
    np.testing.assert_array_equal(backend.to_numpy(y.detach()), table[indices])
    g = rng.standard_normal(y.shape).astype("float32")
    y.backward(backend.asarray(g))
    expected = np.zeros_like(table)
    np.add.at(expected, indices, g)
    np.testing.assert_allclose(backend.to_numpy(weight.grad), expected, atol=1e-5)


def test_gradient_by_differences(backend):
    backend.skip_without_float64()
    indices = backend.asarray(np.array([[3, 1, 3], [0, 3, 1]]))
    table = np.random.default_rng(0).standard_normal((5, 2))
    check_gradients(lambda w: ops.embedding(w, indices), table, wrap=backend.asarray)


def test_the_padding_row_is_zero_and_stays(backend):
    nnx.random.manual_seed(0)
    layer = nn.Embedding(5, 3, padding_idx=-4)
    assert layer.padding_idx == 1
    table = backend.to_numpy(layer.weight.detach())
    assert not table[1].any() and table[[0, 2, 3, 4]].all()
    y = layer(backend.asarray(np.array([1, 2, 1, 1])))
    y.sum().backward()
    grad = backend.to_numpy(layer.weight.grad)
    np.testing.assert_array_equal(grad[:, 0], [0, 0, 1, 0, 0])


def test_equals_pytorch(backend):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    theirs = torch.nn.Embedding(7, 3, padding_idx=2)
    ours = nn.Embedding(7, 3, padding_idx=2)
    ours.load_state_dict({"weight": theirs.weight.detach().numpy()})
    indices = np.random.default_rng(0).integers(0, 7, (4, 6))
    y = ours(backend.asarray(indices))
    e = theirs(torch.tensor(indices))
    np.testing.assert_array_equal(backend.to_numpy(y.detach()), e.detach().numpy())
    (y * y).sum().backward()
    (e * e).sum().backward()
    grad = backend.to_numpy(ours.weight.grad)
    np.testing.assert_allclose(grad, theirs.weight.grad.numpy(), atol=1e-5)


def test_pretrained_vectors_are_copied_and_frozen(backend):
    vectors = np.arange(6, dtype="float32").reshape(3, 2)
    layer = nn.Embedding.from_pretrained(backend.asarray(vectors))
    y = layer(backend.asarray(np.array([2, 0])))
    assert not y.requires_grad
    np.testing.assert_array_equal(backend.to_numpy(y), [[4, 5], [0, 1]])
    vectors[:] = 0
    np.testing.assert_array_equal(backend.to_numpy(layer.weight.detach())[2], [4, 5])
    free = nn.Embedding.from_pretrained(layer.weight, freeze=False, padding_idx=0)
    free(backend.asarray(np.array([2, 0]))).sum().backward()
    np.testing.assert_array_equal(backend.to_numpy(free.weight.grad), [[0, 0], [0, 0], [1, 1]])


def test_index_add_is_exact_and_deterministic(backend):
    """Long runs, every row, and rows that never occur; small integers sum exactly."""
    rng = np.random.default_rng(0)
    indices = rng.integers(0, 9, 1000)
    indices[indices == 4] = 7
    values = rng.integers(-8, 9, (1000, 3)).astype("float32")
    expected = np.zeros((11, 3), "float32")
    np.add.at(expected, indices, values)
    kernel = backend.backend.index_add
    got = kernel(backend.asarray(values), backend.asarray(indices), 11)
    np.testing.assert_array_equal(backend.to_numpy(got), expected)
    noise = backend.asarray(rng.standard_normal((1000, 3)).astype("float32"))
    first = backend.to_numpy(kernel(noise, backend.asarray(indices), 11))
    for _ in range(3):
        again = backend.to_numpy(kernel(noise, backend.asarray(indices), 11))
        np.testing.assert_array_equal(again, first)


@pytest.mark.parametrize("rows", [40, 900, 5000])
@pytest.mark.parametrize("width", [3, 40])
def test_index_add_where_few_or_many_come_again(backend, rows, width):
    rng = np.random.default_rng(0)
    indices = rng.integers(0, rows, 1000)
    values = rng.integers(-8, 9, (1000, width)).astype("float32")
    expected = np.zeros((rows, width), "float32")
    np.add.at(expected, indices, values)
    got = backend.backend.index_add(backend.asarray(values), backend.asarray(indices), rows)
    np.testing.assert_array_equal(backend.to_numpy(got), expected)


def test_errors():
    weight = nnx.Tensor(np.zeros((5, 2), "f4"))
    with pytest.raises(IndexError, match=r"from 0 to 4; they are from -1 to 7.*\(5, 2\).*\(2,\)"):
        ops.embedding(weight, np.array([-1, 7]))
    with pytest.raises(TypeError, match="must be integers, got float64"):
        ops.embedding(weight, np.array([1.0]))
    with pytest.raises(ValueError, match="padding_idx 5 is not one of the 5 rows"):
        ops.embedding(weight, np.array([1]), padding_idx=5)
    with pytest.raises(ValueError, match=r"weight must be \(V, E\).*\(5,\)"):
        ops.embedding(nnx.Tensor(np.zeros(5, "f4")), np.array([1]))
    with pytest.raises(ValueError, match="must be positive; got 0 and 3"):
        nn.Embedding(0, 3)
    with pytest.raises(ValueError, match=r"vectors must be \(V, E\)"):
        nn.Embedding.from_pretrained(np.zeros(5, "f4"))


# ---- longest rows, frequencies, bags ----

TABLE = np.random.default_rng(3).standard_normal((7, 3))
SQUARE, LINE = [[0, 2, 2], [5, 6, 2]], [0, 2, 2, 5, 6, 2, 4, 4]


def of_pytorch(backend, name, options, *inputs):
    """nn.name and PyTorch's with one table: values, gradients, and the table afterwards."""
    torch = pytest.importorskip("torch")
    kind = "float64" if backend.float64 else "float32"
    theirs = getattr(torch.nn, name)(7, 3, **options).to(getattr(torch, kind))
    theirs.weight.data = torch.tensor(TABLE.astype(kind))
    ours = getattr(nn, name)(7, 3, dtype=kind, **options)
    ours.weight.data = backend.asarray(TABLE.astype(kind))
    given, wanted = [], []
    for a in inputs:
        a = None if a is None else np.asarray(a)
        learnt = a is not None and a.dtype.kind == "f"
        a = a.astype(kind) if learnt else a
        given.append(None if a is None else backend.tensor(a, requires_grad=learnt))
        wanted.append(None if a is None else torch.tensor(a, requires_grad=learnt))
    y, u = ours(*given), theirs(*wanted)
    close = {"rtol": 1e-10, "atol": 1e-12} if backend.float64 else {"rtol": 1e-5, "atol": 1e-6}
    np.testing.assert_allclose(backend.to_numpy(y.detach()), u.detach().numpy(), **close)
    g = np.random.default_rng(1).standard_normal(y.shape).astype(kind)
    y.backward(backend.asarray(g))
    u.backward(torch.tensor(g))
    for a, b in [(ours.weight, theirs.weight), *zip(given, wanted, strict=True)]:
        if b is not None and b.requires_grad:
            np.testing.assert_allclose(backend.to_numpy(a.grad), b.grad.numpy(), **close)
    np.testing.assert_allclose(backend.to_numpy(ours.weight), theirs.weight.detach(), **close)


@pytest.mark.parametrize(
    "options",
    [
        {"max_norm": 0.7},
        {"max_norm": 1.0, "norm_type": 1.0, "padding_idx": 5},
        {"scale_grad_by_freq": True, "padding_idx": 0},
    ],
)
def test_embedding_with_limits_equals_pytorch(backend, options):
    of_pytorch(backend, "Embedding", options, SQUARE)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("padding_idx", [None, 2])
def test_bags_equal_pytorch(backend, mode, padding_idx):
    options = {"mode": mode, "padding_idx": padding_idx}
    of_pytorch(backend, "EmbeddingBag", options, SQUARE)
    of_pytorch(backend, "EmbeddingBag", options, LINE, [0, 3, 3, 5])  # an empty bag
    of_pytorch(backend, "EmbeddingBag", options, LINE, [0, 0, 8])  # at the ends too
    of_pytorch(backend, "EmbeddingBag", {**options, "max_norm": 0.9}, SQUARE)
    last = {**options, "include_last_offset": True}
    of_pytorch(backend, "EmbeddingBag", last, LINE, [0, 3, 3, 8])


def test_weighted_bags_equal_pytorch(backend):
    weights = np.random.default_rng(2).standard_normal(8)
    of_pytorch(backend, "EmbeddingBag", {"mode": "sum"}, LINE, [0, 3, 5], weights)
    of_pytorch(backend, "EmbeddingBag", {"mode": "sum", "padding_idx": 2}, SQUARE, None,
               weights[:6].reshape(2, 3))  # fmt: skip


def test_frequencies_in_bags():
    """Each row's gradient by how often it is read (PyTorch's counts go wrong from the third on)."""
    w = nnx.Tensor(TABLE.copy(), requires_grad=True)
    ops.embedding_bag(w, SQUARE, mode="sum", scale_grad_by_freq=True).sum().backward()
    np.testing.assert_allclose(w.grad, np.isin(np.arange(7), SQUARE)[:, None] * np.ones((1, 3)))


def test_bags_by_differences(backend):
    backend.skip_without_float64()
    ids, begins = backend.asarray(np.asarray(LINE)), backend.asarray(np.asarray([0, 3, 3, 5]))
    for mode in ("sum", "mean", "max"):
        check_gradients(
            lambda w, m=mode: ops.embedding_bag(w, ids, begins, m, padding_idx=4),
            TABLE, wrap=backend.asarray,
        )  # fmt: skip
    check_gradients(
        lambda w, s: ops.embedding_bag(w, ids, begins, "sum", s),
        TABLE, np.linspace(-1, 2, 8), wrap=backend.asarray,
    )  # fmt: skip


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda w: ops.embedding_bag(w, [0, 1]), ValueError, r"must be \(B, N\), or \(M,\)"),
        (lambda w: ops.embedding_bag(w, [[0]], [0]), ValueError, r"offsets are for indices \(M,\)"),
        (lambda w: ops.embedding_bag(w, [0, 1], [1]), ValueError, "must begin with 0, never fall"),
        (lambda w: ops.embedding_bag(w, [0, 1], [0, 2, 1]), ValueError, r"fall .*\[0, 2, 1\]"),
        (lambda w: ops.embedding_bag(w, [0, 1], np.zeros(0, "i8")), ValueError, "no offset"),
        (lambda w: ops.embedding_bag(w, [0, 1], [0, 3]), ValueError, "not pass the 2 indices"),
        (lambda w: ops.embedding_bag(w, [0, 1], [0.0]), TypeError, "offsets must be integers"),
        (lambda w: ops.embedding_bag(w, [[0, 7]]), IndexError, "indices must be from 0 to 6"),
        (lambda w: ops.embedding_bag(w, [[0]], mode="prod"), ValueError, "'prod' is not one"),
        (lambda w: ops.embedding_bag(w, [[0]], per_sample_weights=[[1.0]]), ValueError,
         "per_sample_weights are for the mode sum, not 'mean'"),
        (lambda w: ops.embedding_bag(w, [[0]], None, "sum", [1.0]), ValueError,
         r"must have the shape of indices, \(1, 1\); they have \(1,\)"),
        (lambda w: ops.embedding_bag(w, [[0]], mode="max", scale_grad_by_freq=True), ValueError,
         "scale_grad_by_freq is not for the mode max"),
        (lambda w: nn.EmbeddingBag(4, 3, mode="all"), ValueError, "mode 'all' is not one of"),
        (lambda w: nn.Embedding(4, 3, sparse=True), ValueError, "gradients are dense here"),
        (lambda w: nn.Embedding(4, 3, max_norm=0.0), ValueError, "max_norm and norm_type must be"),
    ],
)  # fmt: skip
def test_errors_of_bags(call, error, message):
    with pytest.raises(error, match=message):
        call(nnx.Tensor(TABLE.astype("f4")))


def test_bags_from_vectors():
    layer = nn.EmbeddingBag.from_pretrained(TABLE, mode="sum", padding_idx=-1)
    assert not layer.weight.requires_grad and layer.padding_idx == 6
    np.testing.assert_allclose(layer([[0, 6], [1, 2]]).numpy(), [TABLE[0], TABLE[1] + TABLE[2]])
    assert "7, 3, padding_idx=6, mode='sum'" in repr(layer)
