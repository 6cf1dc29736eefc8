"""The tape's three `__call__`: `Function`'s loops, and `Unary` and `Binary` with them undone.

One operation is written as each; whatever is done with it must come out alike.
"""

from __future__ import annotations

import numpy as np
import pytest

import nnx
from nnx.autograd import Binary, Function, Unary

X = np.asarray([[1.0, -2.0, 3.0], [0.5, 4.0, -1.0]], "f4")
Y = np.asarray([2.0, 0.5, -1.0], "f4")


class _Square:
    """x²."""

    def forward(self, x):
        self.kept = x * 2 if self.needs_input_grad[0] else None
        return x * x

    def backward(self, g):
        return g * self.kept


class _Times:
    """a b, broadcast: a matrix and a vector, or a number."""

    def forward(self, a, b):
        self.a, self.b = a, b
        return a * b

    def backward(self, g):
        for_a, for_b = self.needs_input_grad
        return g * self.b if for_a else None, g * self.a if for_b else None

    def unbroadcast(self, g, shape, dtype):
        return self.backend.xp.sum(g, axis=0) if g.ndim > len(shape) else g


# The same class body under each `__call__`; their names are the same too, for the messages.
ONE = [type("Square", (_Square, base), {}) for base in (Function, Unary)]
TWO = [type("Times", (_Times, base), {}) for base in (Function, Binary)]


class Two(Function):
    """(2 x, 3 x): what comes from it is in a slot of its own."""

    def forward(self, x):
        return x * 2, x * 3

    def backward(self, g, h):
        return g * 2 + h * 3


def outcome(call):
    """What a call gives, and its gradients; or how it fails."""
    try:
        return call()
    except Exception as error:
        return type(error), str(error)


def alike(outcomes):
    first, *others = outcomes
    for other in others:
        assert repr(other) == repr(first)
    return first


def on_tape(y):
    return type(y), y.requires_grad, y.slot, y.creator is not None, str(y.dtype), y.shape


@pytest.mark.parametrize("needs", [True, False])
@pytest.mark.parametrize("inside", [False, True])
def test_one_operand(backend, needs, inside):
    def run(kind):
        x = backend.tensor(X, requires_grad=needs)
        operation = kind()
        with nnx.no_grad() if inside else nnx.enable_grad():
            y = operation(x)
        recorded = needs and not inside
        said = [*on_tape(y), operation.needs_input_grad, operation.kept is not None]
        assert y.requires_grad is recorded and (operation.order > 0) is recorded
        if recorded:
            assert operation.sources[0] is x and y.creator is operation
            said += [operation.slots[0], operation.outputs[0][0], str(operation.outputs[0][1])]
            y.backward(backend.asarray(np.full((2, 3), 2, "f4")))
            said.append(backend.to_numpy(x.grad))
        return [*said, backend.to_numpy(y)]

    alike([run(kind) for kind in ONE])


PAIRS = {
    "two tensors": lambda b, t: (t(X), t(Y)),
    "a number": lambda b, t: (t(X), 3.0),
    "an integer on the left": lambda b, t: (2, t(Y)),
    "itself": lambda b, t: (t(X),) * 2,
    "the first only": lambda b, t: (t(X), b.tensor(Y)),
    "the second only": lambda b, t: (b.tensor(X), t(Y)),
    "neither": lambda b, t: (b.tensor(X), b.tensor(Y)),
    "one that was computed": lambda b, t: (t(X) * 2, t(Y)),
    "the second of two": lambda b, t: (Two()(t(X))[1], Two()(t(Y))[1]),
    "the first only, of two": lambda b, t: (Two()(t(X))[1], b.tensor(Y)),
    "the second only, of two": lambda b, t: (b.tensor(X), Two()(t(Y))[1]),
    "a scalar": lambda b, t: (t(np.asarray(2.0, "f4")), t(np.asarray(3.0, "f4"))),
}


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("name", PAIRS)
def test_two_operands(backend, name, inside):
    def run(kind):
        leaves = []

        def leaf(x):
            leaves.append(backend.tensor(x, requires_grad=True))
            return leaves[-1]

        a, b = PAIRS[name](backend, leaf)
        operation = kind()
        with nnx.no_grad() if inside else nnx.enable_grad():
            z = operation(a, b)
        said = [*on_tape(z), operation.needs_input_grad, operation.order > 0]
        if z.requires_grad:
            for source, x in zip(operation.sources, (a, b), strict=True):
                wanted = isinstance(x, nnx.Tensor) and x.requires_grad
                assert source is ((x.creator or x) if wanted else None)
            said += [tuple(operation.slots), operation.outputs[0][0]]
            z.backward(backend.asarray(np.ones(z.shape, "f4")))
            said += [None if x.grad is None else backend.to_numpy(x.grad) for x in leaves]
            assert all(type(x.grad) is type(x.data) for x in leaves)
        return [*said, backend.to_numpy(z)]

    alike([run(kind) for kind in TWO])


def test_the_slot_of_one_operand():
    def run(kind):
        x = nnx.tensor(X, requires_grad=True)
        kind()(Two()(x)[1]).sum().backward()
        return x.grad

    np.testing.assert_array_equal(alike([run(kind) for kind in ONE]), 18 * X)


def test_a_second_call_is_refused_alike():
    x = nnx.tensor(X, requires_grad=True)
    for kinds, inputs in ((ONE, (x,)), (TWO, (x, x))):

        def twice(kind, inputs=inputs):
            operation = kind()
            operation(*inputs)
            return operation(*inputs)

        error = alike([outcome(lambda k=kind: twice(k)) for kind in kinds])
        assert error[0] is RuntimeError and "on the tape already" in error[1]


def test_mistakes_are_told_alike():
    strict = pytest.importorskip("array_api_strict")
    x, other = nnx.tensor(X, requires_grad=True), nnx.Tensor(strict.asarray(X))
    error = alike([outcome(lambda: TWO[0]()(x, other)), outcome(lambda: x * other)])
    assert error[0] is TypeError and "two libraries" in error[1]

    def careless(kind, wrong):
        operation = kind()
        operation.backward = lambda g: wrong(g)
        operation(x).backward(np.ones((2, 3), "f4"))

    for wrong in (lambda g: g[0], lambda g: g.astype("f8"), lambda g: (g, g)):
        error = alike([outcome(lambda k=k, w=wrong: careless(k, w)) for k in ONE])
        assert error[0] is RuntimeError and "Square.backward returned" in error[1]


def test_what_numpy_makes_of_scalars_is_an_array():
    for kinds, count in ((ONE, 1), (TWO, 2)):
        for kind in kinds:
            xs = [nnx.tensor(3.0, requires_grad=True) for _ in range(count)]
            y = kind()(*xs)
            assert type(y.data) is np.ndarray
            y.backward()
            assert all(type(x.grad) is np.ndarray for x in xs)
