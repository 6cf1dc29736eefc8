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
