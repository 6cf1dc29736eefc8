"""kernels/optim.cu against the portable update rules, over several steps and parameters."""

from __future__ import annotations

import numpy as np
import pytest

# Both round each operation, in the same order; a GPU may fuse a product with a sum, and the
# roots and quotients that follow carry such a last bit on.
RTOL = {"float32": 2e-6, "float64": 4e-15}

SHAPES = [[(31,), (4, 8), (33,)], [(1023,), (0,), (5, 41, 5), (1,)]]

# What is called; with what state (about how large it is at first, None where there is none); and
# which numbers follow in step 1, 2, 3.
EPS = 0.05  # large enough that it shows where it is left out
DECAY = [(0.0, False), (0.1, True)]


def rules():
    for decay, maximize in DECAY:
        for momentum, dampening, nesterov in [
            (0.0, 0.0, False),
            (0.9, 0.1, False),
            (0.9, 0.0, True),
        ]:
            numbers = (0.1, momentum, dampening, nesterov, decay, maximize)
            yield "sgd_", [None], lambda step, n=numbers: n
        yield "adagrad_", [1.0], lambda step, d=decay, m=maximize: (0.1, EPS, d, m)
        for state in ([1.0, None, None], [1.0, 0.0, None], [1.0, None, 0.0], [1.0, 0.0, 0.0]):
            yield "rmsprop_", state, lambda step, d=decay, m=maximize: (0.1, 0.9, EPS, d, 0.8, m)
        yield "adadelta_", [1.0, 0.0], lambda step, d=decay, m=maximize: (1.0, 0.9, EPS, d, m)
        yield "adamax_", [0.0, 1.0], lambda step, d=decay, m=maximize: (0.1, 0.9, 0.99, EPS, d, m)
        for decoupled in (False, True):
            last = (0.1, 0.9, 0.99, EPS, decay, decoupled, maximize)
            yield "adam_", [0.0, 1.0, None], lambda step, t=last: (step, *t)
            yield "adam_", [0.0, 1.0, 1.0], lambda step, t=last: (step, *t)
            yield "nadam_", [0.0, 1.0], lambda step, t=last: (step, 0.02, 0.1, *t)
            yield "radam_", [0.0, 1.0], lambda step, t=last: (0.1, 0.0 if step < 2 else 0.05, *t)


RULES = list(rules())


def check(cuda, real, rule, shapes):
    """Three steps; gradients are passed as they are laid out, the rest is the caller's own."""
    name, state, numbers = rule
    rng = np.random.default_rng(0)
    params = [rng.standard_normal(s).astype(real) for s in shapes]
    grads = [rng.standard_normal(s).astype(real) for s in shapes]
    starts = [
        None if size is None else [(size + 0.1 * rng.random(s)).astype(real) for s in shapes]
        for size in state
    ]
    arrays = [*params, *grads, *(a for slot in starts if slot for a in slot)]

    def body(b, *given):
        n = len(shapes)
        parts = [list(given[k : k + n]) for k in range(0, len(given), n)]
        own = [[b.xp.asarray(a, copy=True) for a in part] for part in (parts[0], *parts[2:])]
        result, rest = [own[0]], iter(own[1:])
        result += [None if slot is None else next(rest) for slot in starts]
        for step in (1, 2, 3):
            result = getattr(b, name)(result[0], parts[1], *result[1:], *numbers(step))
        return result

    cuda.agree(body, *arrays, rtol=RTOL[real])


NAMES = ["sgd", "adagrad", "rmsprop", "adadelta", "adamax", "adam", "nadam", "radam"]


def of(name):
    chosen = [r for r in RULES if r[0] == f"{name}_"]
    return pytest.mark.parametrize("rule", chosen, ids=range(len(chosen)))


def test_every_rule_is_here():
    assert {r[0] for r in RULES} == {f"{name}_" for name in NAMES}


every_shape = pytest.mark.parametrize("shapes", SHAPES, ids=["three", "four"])


@pytest.mark.kernels("sgd")
@every_shape
@of("sgd")
def test_sgd(cuda, real, rule, shapes):
    check(cuda, real, rule, shapes)


@pytest.mark.kernels("adagrad")
@every_shape
@of("adagrad")
def test_adagrad(cuda, real, rule, shapes):
    check(cuda, real, rule, shapes)


@pytest.mark.kernels("rmsprop")
@every_shape
@of("rmsprop")
def test_rmsprop(cuda, real, rule, shapes):
    check(cuda, real, rule, shapes)


@pytest.mark.kernels("adadelta")
@every_shape
@of("adadelta")
def test_adadelta(cuda, real, rule, shapes):
    check(cuda, real, rule, shapes)


@pytest.mark.kernels("adamax")
@every_shape
@of("adamax")
def test_adamax(cuda, real, rule, shapes):
    check(cuda, real, rule, shapes)


@pytest.mark.kernels("adam")
@every_shape
@of("adam")
def test_adam(cuda, real, rule, shapes):
    check(cuda, real, rule, shapes)


@pytest.mark.kernels("nadam")
@every_shape
@of("nadam")
def test_nadam(cuda, real, rule, shapes):
    check(cuda, real, rule, shapes)


@pytest.mark.kernels("radam")
@every_shape
@of("radam")
def test_radam(cuda, real, rule, shapes):
    check(cuda, real, rule, shapes)


@pytest.mark.parametrize("count", [64, 65, 130])
def test_many_parameters(cuda, count):
    """More than one launch lists."""
    check(cuda, "float32", next(r for r in RULES if r[0] == "adam_"), [(3,)] * count)


def test_written_in_place(cuda):
    p, g, s = (cuda.asarray(np.ones(5, "float32")) for _ in range(3))
    new, sums = cuda.backend.adagrad_([p], [g], [s], 0.1, 1e-10, 0.0, False)
    assert new[0] is p and sums[0] is s
    np.testing.assert_array_equal(cuda.backend.to_numpy(s), 2)


def test_what_cannot_be_written_uses_the_twin(cuda):
    wide = cuda.asarray(np.ones(10, "float32"))
    params, g = [wide[::2]], [cuda.asarray(np.ones(5, "float32"))]
    new, _ = cuda.backend.sgd_(params, g, None, 0.5, 0.0, 0.0, False, 0.0, False)
    np.testing.assert_array_equal(cuda.backend.to_numpy(new[0]), 0.5)
    assert not cuda.launched


def test_no_parameters(cuda):
    assert cuda.backend.sgd_([], [], None, 0.5, 0.0, 0.0, False, 0.0, False) == ([], None)
    assert not cuda.launched
