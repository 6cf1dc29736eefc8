"""The tape: what is walked, in which order, how often, and what it keeps alive."""

from __future__ import annotations

import gc
import sys
import threading
import weakref

import numpy as np
import pytest

import nnx
from nnx import ops
from nnx.backends.cpu import memory


def leaf(values, dtype="float64"):
    return nnx.Tensor(np.asarray(values, dtype), requires_grad=True)


def test_the_chain_rule_by_hand(backend):
    x = backend.tensor(np.asarray([1.0, 2.0, 3.0], "float32"), requires_grad=True)
    y = (x * x * 2 + x).sum()
    y.backward()
    np.testing.assert_allclose(backend.to_numpy(x.grad), [5, 9, 13])
    assert type(x.grad) is type(x.data) and x.grad.dtype == x.dtype
    assert y.grad is None


def test_a_shared_subexpression_is_walked_once(backend):
    calls = []

    class Square(nnx.Function):
        def forward(self, x):
            self.x = x
            return x * x

        def backward(self, g):
            calls.append(1)
            return g * self.x * 2

    x = backend.tensor(np.asarray([3.0], "float32"), requires_grad=True)
    s = Square()(x)
    (s + s * s + s).sum().backward()  # 2 x² + x⁴ -> 4 x + 4 x³
    np.testing.assert_allclose(backend.to_numpy(x.grad), [120.0])
    assert len(calls) == 1


def test_nested_diamonds_do_not_multiply_the_work():
    x = leaf(1.0)
    y = x
    for _ in range(60):  # 2^60 paths
        y = y * 0.5 + y * 0.5
    y.backward()
    assert float(x.grad) == 1.0


def test_a_chain_of_ten_thousand_steps():
    x = leaf([1.0])
    y = x
    for _ in range(10_000):
        y = y + 1.0
    y.backward(np.ones(1))
    np.testing.assert_array_equal(x.grad, [1.0])


def test_a_long_chain_is_forgotten_without_recursion():
    y = leaf([1.0])
    for _ in range(100_000):
        y = y + 1.0
    del y
    gc.collect()


def test_gradients_add_up_over_calls():
    x = leaf([1.0, 2.0])
    for times in (1, 2, 3):
        (x * x).sum().backward()
        np.testing.assert_array_equal(x.grad, times * 2 * x.data)
    x.zero_grad()
    assert x.grad is None


class Keeps(nnx.Function):
    """3 x, with a backward that returns what it holds on to itself."""

    def forward(self, x):
        return x * 3

    def backward(self, g):
        self.kept = g * 3
        return self.kept


SHARING = {
    "a sum": lambda x, y: x + y,
    "a difference": lambda x, y: x - y,
    "reshaped": lambda x, y: x.reshape(-1).reshape(2, 3) + y.reshape(3, 2).reshape(6).reshape(2, 3),
    "transposed": lambda x, y: (x.T + y.T).T,
    "joined": lambda x, y: nnx.concat([x, y], axis=1)[:, :3] + nnx.concat([y, x])[:2],
    "stacked": lambda x, y: nnx.stack([x, y]).sum(axis=0),
    "broadcast": lambda x, y: (x.sum() + y.sum()) * nnx.ones((2, 3), dtype="float64"),
    "expanded": lambda x, y: x.expand_dims(0).squeeze(0) + y[None][0],
    "chosen": lambda x, y: nnx.where(nnx.tensor(np.ones((2, 3), bool)), x, y),
    "kept by the function": lambda x, y: Keeps()(x) + y,
    "with a dtype": lambda x, y: x.astype("float64") + y,
    "twice": lambda x, y: x + x + y + y,
}


@pytest.mark.parametrize("name", SHARING)
def test_a_leaf_owns_its_gradient(name):
    """A leaf's gradient is written into; no other array that somebody holds changes."""
    x, y = leaf(np.ones((2, 3))), leaf(np.full((2, 3), 2.0))
    z = SHARING[name](x, y)
    z.retain_grad()
    given = np.arange(6.0).reshape(2, 3)
    z.backward(given, retain_graph=True)
    held = [x.grad, y.grad, z.grad, given, getattr(z.creator, "kept", given)]
    expected = [g.copy() for g in held]
    for k, g in enumerate(held[:3]):
        g /= 2
        expected[k] /= 2
        for now, right in zip(held, expected, strict=True):
            np.testing.assert_array_equal(now, right)


def test_a_leaf_owns_its_gradient_on_every_library(backend):
    x, y = (backend.tensor(np.ones((2, 3), "f4"), requires_grad=True) for _ in range(2))
    given = backend.asarray(np.ones((2, 3), "f4"))
    (x + y).backward(given)
    x.grad[0, :] = 5
    np.testing.assert_array_equal(backend.to_numpy(y.grad), np.ones((2, 3)))
    np.testing.assert_array_equal(backend.to_numpy(given), np.ones((2, 3)))
    x.zero_grad()
    x.backward(given)
    x.grad[0, :] = 5
    np.testing.assert_array_equal(backend.to_numpy(given), np.ones((2, 3)))


@pytest.mark.parametrize("kind", [nnx.nn.RNN, nnx.nn.LSTM, nnx.nn.GRU])
@pytest.mark.parametrize("size", [3, 150])  # large arrays come from kept memory
def test_the_parameters_of_a_layer_share_no_gradient(backend, kind, size):
    layer = kind(size, size, bidirectional=True)
    x = backend.tensor(np.random.default_rng(0).standard_normal((4, 2, size)).astype("f4"))
    y, _ = layer(x)
    y.sum().backward()
    gradients = [p.grad for p in layer.parameters()]
    before = [backend.to_numpy(g) for g in gradients]
    for k, g in enumerate(gradients):
        g[...] = 7
        for other, right in zip(gradients[k + 1 :], before[k + 1 :], strict=True):
            np.testing.assert_array_equal(backend.to_numpy(other), right)


def test_a_gradient_that_is_nobody_else_s_is_not_copied(monkeypatch):
    copied = []
    module = sys.modules["nnx.autograd.backward"]
    monkeypatch.setattr(module, "_copy", lambda g: copied.append(g.shape) or g.copy())
    model = nnx.nn.Sequential(
        nnx.nn.Conv2d(2, 4, 3), nnx.nn.BatchNorm2d(4), nnx.nn.ReLU(), nnx.nn.Flatten(),
        nnx.nn.Linear(4 * 36, 200), nnx.nn.Tanh(), nnx.nn.Linear(200, 3),
    )  # fmt: skip
    model(nnx.ones((200, 2, 8, 8))).mean().backward()
    assert not copied


def test_what_is_the_only_view_of_its_memory():
    block = memory.empty((300, 300), "f4")
    alone = memory.is_only_view(block)
    part = block[:3]
    shared = memory.is_only_view(block), memory.is_only_view(part)
    del block
    assert (alone, *shared, memory.is_only_view(part)) == (True, False, False, True)
    assert not memory.is_only_view(np.broadcast_to(np.ones(3), (2, 3)))
    assert not memory.is_only_view(np.frombuffer(bytearray(8)))
    whole = np.ones(4)  # no block of the list, and held here
    assert not memory.is_only_view(whole[:2])
    locked = np.ones(4)[:2]
    locked.flags.writeable = False
    assert not memory.is_only_view(locked)


def test_gradients_of_scalars_are_arrays():
    x = leaf(2.0)
    (x * x + x).backward()
    assert type(x.grad) is np.ndarray
    (x * 3).backward()
    assert type(x.grad) is np.ndarray and float(x.grad) == 8


@pytest.mark.parametrize("function", [ops.add, ops.multiply, ops.divide, ops.maximum, ops.pow])
def test_gradients_of_scalars_that_were_broadcast_are_arrays(function):
    x, several = leaf(2.0), leaf([1.0, 2.0, 4.0])
    function(several, x).sum().backward()
    assert type(x.grad) is np.ndarray
    x.zero_grad()
    function(several, x * 1).sum().backward()  # and on the way through the tape
    assert type(x.grad) is np.ndarray


def test_adding_up_leaves_what_was_there():
    x, y = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    (x + y).sum().backward()
    first = x.grad
    (x * 3).sum().backward()
    np.testing.assert_array_equal(first, [1, 1])
    np.testing.assert_array_equal(x.grad, [4, 4])
    np.testing.assert_array_equal(y.grad, [1, 1])


def test_the_gradient_that_was_passed_in_is_not_written():
    x, g = leaf([1.0, 2.0]), np.ones(2)
    g.flags.writeable = False
    y = x * 2
    y.backward(g, retain_graph=True)
    y.backward(g)
    np.testing.assert_array_equal(x.grad, [4, 4])


class TwoOutputs(nnx.Function):
    """(2 x, 3 x)."""

    seen = None

    def forward(self, x):
        return x * 2, x * 3

    def backward(self, g2, g3):
        type(self).seen = g2, g3
        return g2 * 2 + g3 * 3


def test_several_outputs(backend):
    x = backend.tensor(np.asarray([1.0, 2.0], "float32"), requires_grad=True)
    a, b = TwoOutputs()(x)
    (a * b).sum().backward()  # 6 x²
    np.testing.assert_allclose(backend.to_numpy(x.grad), [12, 24])


@pytest.mark.parametrize("slot", [0, 1])
def test_an_unused_output_counts_as_zero(backend, slot):
    x = backend.tensor(np.asarray([1.0, 2.0], "float32"), requires_grad=True)
    used = TwoOutputs()(x)[slot]
    used.sum().backward()
    np.testing.assert_allclose(backend.to_numpy(x.grad), [2 + slot] * 2)
    unused = TwoOutputs.seen[1 - slot]
    assert type(unused) is type(x.data) and unused.dtype == x.dtype
    np.testing.assert_array_equal(backend.to_numpy(unused), [0, 0])


def test_backward_from_one_of_several_outputs():
    x = leaf([1.0, 2.0])
    TwoOutputs()(x)[1].backward(np.ones(2))
    np.testing.assert_array_equal(x.grad, [3, 3])


def test_a_freed_tape_says_so():
    x = leaf([1.0, 2.0])
    y = x * x
    y.sum().backward()
    with pytest.raises(RuntimeError, match=r"Multiply.*already walked.*retain_graph=True"):
        y.sum().backward()
    with pytest.raises(RuntimeError, match="already walked"):
        y.backward(np.ones(2))


def test_retain_graph_walks_twice():
    x = leaf([1.0, 2.0])
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    np.testing.assert_array_equal(x.grad, 4 * x.data)
    with pytest.raises(RuntimeError, match="already walked"):
        y.backward()


def test_what_backward_needed_is_freed_as_the_tape_is_walked():
    x = leaf(np.ones(4))
    y = ops.exp(x)
    kept = weakref.ref(y.creator)
    z = y.sum()
    assert "y" in vars(kept())
    z.backward()
    assert vars(kept()) == {}


def test_the_tape_does_not_keep_what_no_backward_needs():
    x = leaf(np.ones(4))
    hidden = x + 1.0  # relu keeps its output, and addition nothing
    array = weakref.ref(hidden.data)
    y = ops.relu(hidden)
    del hidden
    assert array() is None
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, np.ones(4))


def test_without_gradients_nothing_is_kept():
    a, b = nnx.Tensor(np.ones(3)), leaf(np.ones(3))
    assert (a * a).creator is None
    kept = (a * b).creator
    assert "b" not in vars(kept), "a's gradient is not wanted, so b need not be kept"


def test_no_grad_and_enable_grad():
    x = leaf([1.0])
    with nnx.no_grad():
        assert not nnx.is_grad_enabled()
        y = x * 2
        assert not y.requires_grad and y.creator is None
        with nnx.enable_grad():
            assert (x * 2).requires_grad
        assert not (ops.relu(x)).requires_grad
    assert nnx.is_grad_enabled() and (x * 2).requires_grad


def test_no_grad_ends_with_an_exception():
    with pytest.raises(ZeroDivisionError), nnx.no_grad():
        raise ZeroDivisionError
    assert nnx.is_grad_enabled()


def test_no_grad_holds_for_its_thread_only():
    x, seen = leaf([1.0]), []
    with nnx.no_grad():
        thread = threading.Thread(target=lambda: seen.append((x * 2).requires_grad))
        thread.start()
        thread.join()
    assert seen == [True]


def test_retain_grad():
    x = leaf([1.0, 2.0])
    y = x * 3
    y.retain_grad()
    x.retain_grad()  # a leaf keeps its gradient anyway
    z = y * y
    z.sum().backward()
    np.testing.assert_array_equal(y.grad, 2 * y.data)
    np.testing.assert_array_equal(x.grad, 6 * y.data)
    assert z.grad is None


def test_retain_grad_of_one_of_several_outputs_and_of_the_root():
    x = leaf([1.0, 2.0])
    a, b = TwoOutputs()(x)
    b.retain_grad()
    root = (a + b * 5).sum()
    root.retain_grad()
    root.backward()
    np.testing.assert_array_equal(b.grad, [5, 5])
    assert float(root.grad) == 1.0 and a.grad is None


def test_a_leaf_as_root():
    x = leaf(3.0)
    x.backward()
    x.backward(np.asarray(2.0))
    assert float(x.grad) == 3.0


def test_mixed_dtypes_give_each_its_own(backend):
    backend.skip_without_float64()
    a = backend.tensor(np.asarray([1.0, 2.0], "float32"), requires_grad=True)
    b = backend.tensor(np.asarray([3.0, 4.0], "float64"), requires_grad=True)
    y = (a * b).sum()
    assert y.dtype == b.dtype
    y.backward()
    assert a.grad.dtype == a.dtype and b.grad.dtype == b.dtype
    np.testing.assert_allclose(backend.to_numpy(a.grad), [3, 4])
    np.testing.assert_allclose(backend.to_numpy(b.grad), [1, 2])


def test_integers_take_the_float_s_dtype(backend):
    x = backend.tensor(np.asarray([1.0, 2.0], "float32"), requires_grad=True)
    for other in ([3, 4], [True, False]):
        y = x * nnx.Tensor(backend.asarray(np.asarray(other)))
        assert y.dtype == x.dtype
        y.sum().backward()
        assert x.grad.dtype == x.dtype
    counts = nnx.Tensor(backend.asarray(np.asarray([3, 4])))
    assert (counts * 0.5).dtype == x.dtype and (0.5 + counts).dtype == x.dtype


def test_errors_at_the_root():
    x = leaf([1.0, 2.0])
    with pytest.raises(ValueError, match=r"must be a scalar, but its shape is \(2,\)"):
        (x * 2).backward()
    with pytest.raises(ValueError, match=r"gradient \(3,\) float64, tensor \(2,\) float64"):
        (x * 2).backward(np.ones(3))
    with pytest.raises(ValueError, match=r"gradient \(2,\) float32, tensor \(2,\) float64"):
        (x * 2).backward(np.ones(2, "f4"))
    with pytest.raises(RuntimeError, match="nothing to differentiate"):
        nnx.Tensor(np.ones(2)).sum().backward()
    with nnx.no_grad():
        y = x.sum()
    with pytest.raises(RuntimeError, match="no_grad"):
        y.backward()


def test_a_gradient_from_another_library_is_refused():
    strict = pytest.importorskip("array_api_strict")
    with pytest.raises(TypeError, match="array_api_strict"):
        (leaf([1.0]) * 2).backward(strict.ones(1, dtype=strict.float64))


def test_a_backward_of_the_wrong_shape_or_dtype_names_the_function():
    class Careless(nnx.Function):
        def __init__(self, gradient):
            self.gradient = gradient

        def forward(self, x):
            return x * 2

        def backward(self, g):
            return self.gradient

    for gradient, message in [
        (np.ones(3), r"Careless.backward.*\(3,\).*\(2,\)"),
        (np.ones(2, "f4"), r"Careless.backward.*float32.*float64"),
    ]:
        for through in (leaf([1.0, 2.0]), leaf([1.0, 2.0]) * 2):  # at a leaf, and further in
            with pytest.raises(RuntimeError, match=message):
                Careless(gradient)(through).sum().backward()


def test_an_instance_is_one_call():
    twice = TwoOutputs()
    twice(leaf([1.0]))
    with pytest.raises(RuntimeError, match=r"TwoOutputs.*one instance for each call"):
        twice(leaf([1.0]))
    once = ops.elementwise.Exp()
    once(leaf([1.0]))
    with pytest.raises(RuntimeError, match="on the tape already"):
        once(leaf([1.0]))


def test_a_function_needs_a_tensor():
    with pytest.raises(TypeError, match="TwoOutputs needs at least one Tensor"):
        TwoOutputs()(1.0)
    with pytest.raises(TypeError, match="Add needs a Tensor"):
        ops.add(1.0, 2.0)
    with pytest.raises(TypeError, match="Exp needs a Tensor"):
        ops.exp(1.0)
    with pytest.raises(TypeError, match="operands must be tensors or numbers, not str"):
        leaf([1.0]) + "1"


def test_a_function_without_forward_or_backward():
    class Empty(nnx.Function):
        pass

    class OneWay(nnx.Function):
        def forward(self, x):
            return x * 2

    with pytest.raises(NotImplementedError, match=r"Empty\.forward"):
        Empty()(leaf([1.0]))
    with pytest.raises(NotImplementedError, match=r"OneWay\.backward"):
        OneWay()(leaf([1.0])).sum().backward()


def test_needs_tells_what_is_wanted():
    seen = []

    class Watch(nnx.Function):
        def forward(self, a, b, c):
            seen.append(self.needs_input_grad)
            return a + b + c

    Watch()(leaf([1.0]), nnx.Tensor(np.ones(1)), 2.0)
    with nnx.no_grad():
        Watch()(leaf([1.0]), leaf([1.0]), 2.0)
    assert seen == [(True, False, False), (False, False, False)]


def test_two_threads_differentiate_side_by_side():
    x, results = leaf(np.ones(50)), {}

    def work(k):
        own = leaf(np.full(50, float(k)))
        for _ in range(50):
            own.grad = None
            y = own
            for _ in range(20):
                y = y * 1.0 + 0.0 * own
            (y * y).sum().backward()
        results[k] = own.grad

    threads = [threading.Thread(target=work, args=(k,)) for k in (1, 2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for k in (1, 2):
        np.testing.assert_allclose(results[k], np.full(50, 2.0 * k))
    assert x.grad is None
