import numpy as np
import pytest
from gradients import check_gradients

from nnx import ops

SHAPES = [((3, 4), (3, 4)), ((3, 4), (4,)), ((3, 1), (1, 4)), ((2, 3, 4), (3, 1)), ((), (2, 2))]
OPERATIONS = {
    "add": (ops.add, np.add),
    "subtract": (ops.subtract, np.subtract),
    "multiply": (ops.multiply, np.multiply),
    "divide": (ops.divide, np.divide),
}


@pytest.mark.parametrize("a, b", SHAPES)
@pytest.mark.parametrize("name", OPERATIONS)
def test_values_and_gradients(backend, name, a, b):
    ours, numpys = OPERATIONS[name]
    rng = np.random.default_rng(0)
    x = rng.uniform(1, 2, a).astype("float32")
    y = rng.uniform(1, 2, b).astype("float32")
    tx, ty = backend.tensor(x, requires_grad=True), backend.tensor(y, requires_grad=True)
    z = ours(tx, ty)
    np.testing.assert_allclose(backend.to_numpy(z), numpys(x, y), rtol=1e-6)
    z.sum().backward() if hasattr(ops, "sum") else z.backward(backend.xp.ones_like(z.data))
    assert tx.grad.dtype == tx.dtype and tuple(tx.grad.shape) == a
    if backend.float64 and hasattr(ops, "sum"):
        check_gradients(ours, x, y, wrap=backend.asarray)


def test_numbers_on_either_side(backend):
    x = backend.tensor(np.asarray([1.0, 2.0], "float32"), requires_grad=True)
    for got, want in [(x + 1, [2, 3]), (1 - x, [0, -1]), (2 * x, [2, 4]), (2 / x, [2, 1])]:
        np.testing.assert_array_equal(backend.to_numpy(got.detach()), want)
        assert got.dtype == x.dtype


def test_two_libraries_in_one_call_is_an_error():
    strict = pytest.importorskip("array_api_strict")
    import nnx

    a, b = nnx.Tensor(np.ones(2, "f4")), nnx.Tensor(strict.ones(2))
    with pytest.raises(TypeError, match=r"array_api_strict.*\.to\("):
        a + b
