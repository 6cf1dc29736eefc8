"""Backward after a change in place: right, or refused by name, and never of other values."""

from __future__ import annotations

import gc

import numpy as np
import pytest

import nnx
from nnx.autograd import writes


def leaf(values, dtype="float64"):
    return nnx.Tensor(np.asarray(values, dtype), requires_grad=True)


def sgd_step(*leaves, lr=0.1):
    nnx.optim.SGD(leaves, lr=lr).step()


def test_backward_after_a_step_is_refused():
    """PyTorch's rule: where the changed values are needed."""
    x, w = leaf([1.0, 2.0]), nnx.nn.Parameter(np.asarray([3.0, 4.0]))
    loss = (x * w).sum()
    loss.backward(retain_graph=True)
    sgd_step(w)
    with pytest.raises(RuntimeError, match=r"Multiply was computed with parameter of shape \(2,\)"):
        loss.backward()


def test_backward_after_a_step_that_does_not_matter_is_right():
    w, b, late = leaf([3.0, 4.0]), leaf([1.0, 1.0]), leaf([5.0, 5.0])
    y = nnx.tensor(np.ones(2)) * w + b  # keeps neither w nor b
    loss = y.sum()
    loss.backward(retain_graph=True)
    (late * late).sum().backward()
    sgd_step(w, b, late)
    w.grad = None
    loss.backward()
    np.testing.assert_array_equal(w.grad, [1, 1])
    (w * w).sum().backward()  # computed after the step
    np.testing.assert_allclose(w.grad, 1 + 2 * w.data)


def test_another_leaf_s_later_step_does_not_matter():
    """What was computed after w was changed has w's new values, whatever is changed after it."""
    w, other = leaf([3.0, 4.0]), leaf([1.0, 1.0])
    w.grad = other.grad = np.ones(2)
    sgd_step(w)
    y = (w * w).sum()
    sgd_step(other)
    w.grad = None
    y.backward()
    np.testing.assert_array_equal(w.grad, 2 * w.data)


LAYERS = {
    "Linear": lambda: (nnx.nn.Linear(4, 4), (2, 4)),
    "Conv2d": lambda: (nnx.nn.Conv2d(4, 4, 3), (2, 4, 5, 5)),
    "Conv1d": lambda: (nnx.nn.Conv1d(4, 4, 3), (2, 4, 5)),
    "ConvTranspose2d": lambda: (nnx.nn.ConvTranspose2d(4, 4, 3), (2, 4, 5, 5)),
    "BatchNorm2d": lambda: (nnx.nn.BatchNorm2d(4), (2, 4, 5, 5)),
    "BatchNorm2d in evaluation": lambda: (nnx.nn.BatchNorm2d(4).eval(), (2, 4, 5, 5)),
    "LayerNorm": lambda: (nnx.nn.LayerNorm(4), (2, 4)),
    "GroupNorm": lambda: (nnx.nn.GroupNorm(2, 4), (2, 4, 5)),
    "PReLU": lambda: (nnx.nn.PReLU(4), (2, 4, 5)),
    "RNN": lambda: (nnx.nn.RNN(4, 4), (3, 2, 4)),
    "LSTM": lambda: (nnx.nn.LSTM(4, 4), (3, 2, 4)),
    "GRU": lambda: (nnx.nn.GRU(4, 4, bidirectional=True), (3, 2, 4)),
    "RNNCell": lambda: (nnx.nn.RNNCell(4, 4), (2, 4)),
    "LSTMCell": lambda: (nnx.nn.LSTMCell(4, 4), (2, 4)),
    "GRUCell": lambda: (nnx.nn.GRUCell(4, 4), (2, 4)),
    "a block": lambda: (
        nnx.nn.Sequential(
            nnx.nn.Conv2d(4, 4, 3), nnx.nn.BatchNorm2d(4), nnx.nn.ReLU(), nnx.nn.MaxPool2d(2)
        ),
        (2, 4, 9, 9),
    ),
}


def right_or_refused(output, x, change):
    """The gradient of x after `change` is that from before, or an error that says why not."""
    output.sum().backward(retain_graph=True)
    before = np.array(x.grad)
    x.grad = None
    change()
    try:
        output.sum().backward()
    except RuntimeError as error:
        assert "was computed with" in str(error) and "shape" in str(error)
        return False
    np.testing.assert_array_equal(x.grad, before)
    return True


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_after_a_step(backend, name, frozen):
    """No layer gives the gradient of weights it was not computed with, frozen ones included."""
    layer, shape = LAYERS[name]()
    x = backend.tensor(np.random.default_rng(0).standard_normal(shape).astype("f4"), None, True)
    layer.requires_grad_(not frozen)
    y = layer(x)
    layer.requires_grad_()

    def step():
        for p in layer.parameters():
            p.grad = backend.asarray(np.ones(p.shape, "f4"))
        sgd_step(*layer.parameters(), lr=10.0)

    right_or_refused(y[0] if isinstance(y, tuple) else y, On(backend, x), step)


class On:
    """A leaf whose gradient is read as a NumPy array."""

    def __init__(self, backend, x):
        self.backend, self.x = backend, x

    @property
    def grad(self):
        return self.backend.to_numpy(self.x.grad)

    @grad.setter
    def grad(self, value):
        self.x.grad = value


def test_the_error_names_parameter_and_operation():
    layer, x = nnx.nn.Linear(4, 3), leaf(np.ones((2, 4)), "float32")
    loss = layer(x).sum()
    loss.backward(retain_graph=True)
    sgd_step(*layer.parameters())
    with pytest.raises(
        RuntimeError, match=r"Linear was computed with Linear.weight of shape \(3, 4"
    ):
        loss.backward()


@pytest.mark.parametrize(
    "change",
    [
        lambda layer: layer.load_state_dict({"weight": np.ones((3, 4)), "bias": np.ones(3)}),
        lambda layer: setattr(layer.weight, "data", np.ones((3, 4), "f4")),
        lambda layer: nnx.nn.init.ones_(layer.weight),
        lambda layer: layer.weight.detach().copy_(1.0),
        lambda layer: layer.to(dtype="float32"),
        lambda layer: nnx.nn.utils.vector_to_parameters(nnx.ones(15), layer.parameters()),
        lambda layer: layer.weight.__setitem__(0, 1.0),
        lambda layer: layer.weight.__imul__(2.0),
        lambda layer: layer.weight.copy_(3.0),
    ],
)
def test_other_changes_leave_what_was_kept(change):
    """These put a new array in the old one's place, so the tape goes on with the values it had."""
    layer, x = nnx.nn.Linear(4, 3), leaf(np.ones((2, 4)), "float32")

    def changed():
        with nnx.no_grad():
            change(layer)

    assert right_or_refused(layer(x), x, changed)


def test_views_and_nests_of_what_was_changed_are_found():
    class Nest(nnx.Function):
        def __init__(self, keep):
            self.keep = keep

        def forward(self, x, w):
            self.kept = self.keep(w)
            return x * 2

        def backward(self, g):
            return g * 2, None

    for keep, refused in [
        (lambda w: [1, (w.T,)], True),
        (lambda w: {"w": w[1:].reshape(-1)}, True),
        (lambda w: nnx.Tensor(w), True),
        (lambda w: w.copy(), False),
        (lambda w: np.ones((2, 2)), False),
    ]:
        x, w = leaf(np.ones(2)), leaf(np.eye(2))
        y = Nest(keep)(x, w.detach())
        w.grad = np.ones((2, 2))
        assert right_or_refused(y, x, lambda: sgd_step(w)) is not refused, keep  # noqa: B023


def test_parts_of_one_buffer_are_told_apart():
    flat = np.ones(8)
    a, b = nnx.nn.Parameter(flat[:4]), nnx.nn.Parameter(flat[4:])
    x = leaf(np.ones(4))
    y = x * a
    b.grad = np.ones(4)
    assert right_or_refused(y, x, lambda: sgd_step(b))
    a.grad = np.ones(4)
    y = x * a
    assert not right_or_refused(y, x, lambda: sgd_step(a))


def test_changed_leaves_are_forgotten_when_they_go():
    w = leaf(np.ones(2))
    (w * w).sum().backward()
    key = id(w)
    sgd_step(w)
    assert key in writes._written
    del w
    gc.collect()
    assert key not in writes._written
