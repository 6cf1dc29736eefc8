"""kernels/optim.cu against the portable update rules, over several steps and parameters."""

from __future__ import annotations

import numpy as np
import pytest

from nnx.backends.portable import optim_rules as rules

# Both round each operation, in the same order; a GPU may fuse a product with a sum, and the
# roots and quotients that follow carry such a last bit on.
RTOL = {"float32": 2e-6, "float64": 4e-15}

SHAPES = [[(31,), (4, 8), (33,)], [(1023,), (0,), (5, 41, 5), (1,)]]

# What is called; with what state (about how large it is at first, None where there is none); and
# the rule of step 1, 2, 3.
EPS = 0.05  # large enough that it shows where it is left out


def every_rule():
    for decay, maximize in [(0.0, False), (0.1, True)]:
        base = {"lr": 0.1, "weight_decay": decay, "maximize": maximize}
        for momentum, dampening, nesterov in [
            (0.0, 0.0, False),
            (0.9, 0.1, False),
            (0.9, 0.0, True),
        ]:
            sgd = rules.SGD(**base, momentum=momentum, dampening=dampening, nesterov=nesterov)
            yield "sgd_", [None], [sgd] * 3
        base["eps"] = EPS
        yield "adagrad_", [1.0], [rules.Adagrad(**base)] * 3
        for state in ([1.0, None, None], [1.0, 0.0, None], [1.0, None, 0.0], [1.0, 0.0, 0.0]):
            yield "rmsprop_", state, [rules.RMSprop(**base, alpha=0.9, momentum=0.8)] * 3
        yield "adadelta_", [1.0, 0.0], [rules.Adadelta(**base, rho=0.9)] * 3
        base["betas"] = (0.9, 0.99)
        yield "adamax_", [0.0, 1.0], [rules.Adamax(**base)] * 3
        for decoupled in (False, True):
            base["decoupled"] = decoupled
            adam = [rules.Adam(**base, step=step) for step in (1, 2, 3)]
            yield "adam_", [0.0, 1.0, None], adam
            yield "adam_", [0.0, 1.0, 1.0], adam
            rates = {"gradient_rate": 0.02, "average_rate": 0.1}
            yield "nadam_", [0.0, 1.0], [rules.NAdam(**base, **rates, step=k) for k in (1, 2, 3)]
            by_step = [{"average_rate": 0.1, "adaptive_rate": rate} for rate in (0.0, 0.05, 0.05)]
            yield "radam_", [0.0, 1.0], [rules.RAdam(**base, **r) for r in by_step]


RULES = list(every_rule())


def check(cuda, real, rule, shapes):
    """Three steps; gradients are passed as they are laid out, the rest is the caller's own."""
    name, state, steps = rule
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
        for numbers in steps:
            result = getattr(b, name)(result[0], parts[1], *result[1:], numbers)
        return result

    cuda.agree(body, *arrays, rtol=RTOL[real])


@pytest.mark.kernels("sgd", "adagrad", "rmsprop", "adadelta", "adamax", "adam", "nadam", "radam")
@pytest.mark.parametrize("shapes", SHAPES, ids=["three", "four"])
def test_rules(cuda, real, shapes):
    for rule in RULES:
        check(cuda, real, rule, shapes)


@pytest.mark.parametrize("count", [64, 65, 130])
def test_many_parameters(cuda, count):
    """More than one launch lists."""
    check(cuda, "float32", next(r for r in RULES if r[0] == "adam_"), [(3,)] * count)


def test_written_in_place(cuda):
    p, g, s = (cuda.asarray(np.ones(5, "float32")) for _ in range(3))
    new, sums = cuda.backend.adagrad_([p], [g], [s], rules.Adagrad(lr=0.1, eps=1e-10))
    assert new[0] is p and sums[0] is s
    np.testing.assert_array_equal(cuda.backend.to_numpy(s), 2)


def test_what_cannot_be_written_uses_the_twin(cuda):
    wide = cuda.asarray(np.ones(10, "float32"))
    params, g = [wide[::2]], [cuda.asarray(np.ones(5, "float32"))]
    new, _ = cuda.backend.sgd_(params, g, None, rules.SGD(lr=0.5))
    np.testing.assert_array_equal(cuda.backend.to_numpy(new[0]), 0.5)
    assert not cuda.launched


def test_no_parameters(cuda):
    assert cuda.backend.sgd_([], [], None, rules.SGD(lr=0.5)) == ([], None)
    assert not cuda.launched


@pytest.mark.kernels("sgd", "adam", "count_step")
@pytest.mark.parametrize("skips", [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)])
def test_steps_left_out_and_counted_on_the_device(cuda, real, skips):
    """What a step with an overflow leaves behind is what there was before, the count too."""
    rng = np.random.default_rng(0)
    p, g, m = (rng.standard_normal((33, 40)).astype(real) for _ in range(3))
    found = [np.asarray(skip, np.int32) for skip in skips]

    def body(b, p, g, m, count, *found):
        own = [b.xp.asarray(a, copy=True) for a in (p, m, m * m, p, count)]
        params, averages, squares, step, bought = [own[0]], [own[1]], [own[2]], own[4], None
        others = [own[3]]
        for skip in found:
            step = b.xp.asarray(b.count_step_(step, skip))
            adam = rules.Adam(lr=0.1, eps=EPS, betas=(0.9, 0.999), step=step, skip=skip)
            params, averages, squares, _ = b.adam_(params, [g], averages, squares, None, adam)
            sgd = rules.SGD(lr=0.1, momentum=0.9, skip=skip)
            others, bought = b.sgd_(others, [g], bought, sgd)
        return params, averages, squares, step, others, bought

    cuda.agree(body, p, g, m, np.asarray(3, np.int64), *found, rtol=RTOL[real], layouts=LAYOUTS)


def test_a_count_on_the_device_gives_the_numbers_of_the_host(cuda, real):
    p, g = (np.linspace(-1, 1, 5).astype(real) for _ in range(2))
    for t in (1, 2, 100, 100_000):
        results = []
        for step in (t, cuda.asarray(np.asarray(t, np.int64))):
            own = [cuda.asarray(a) for a in (p, p, p * p)]
            rule = rules.Adam(lr=0.1, eps=1e-8, betas=(0.9, 0.999), step=step)
            new = cuda.backend.adam_([own[0]], [cuda.asarray(g)], [own[1]], [own[2]], None, rule)
            results.append(cuda.backend.to_numpy(new[0][0]))
        np.testing.assert_allclose(*results, rtol=1e-6 if real == "float32" else 1e-11)


LAYOUTS = ("contiguous",)  # parameters and gradients of a step are


@pytest.mark.kernels("unscale")
@pytest.mark.parametrize("spoiled", [None, np.inf, -np.inf, np.nan, "overflow"])
@pytest.mark.parametrize("before", [0, 1])
def test_unscale(cuda, real, spoiled, before):
    rng = np.random.default_rng(0)
    grads = [rng.standard_normal(s).astype(real) for s in [(1025,), (3, 7), (0,)]]
    scale = 2.0**16
    if spoiled == "overflow":
        grads[0][1024], scale = np.finfo(real).max, 2.0**-3
    elif spoiled is not None:
        grads[1][2, 6] = spoiled

    def body(b, scale, found, *grads):
        own = [b.xp.asarray(g, copy=True) for g in grads]
        return b.unscale_(own, scale, b.xp.asarray(found, copy=True))

    scale, found = np.asarray(scale, "float32"), np.asarray(before, "int32")
    with np.errstate(all="ignore"):
        *_, told = cuda.agree(body, scale, found, *grads, layouts=LAYOUTS)
    assert bool(told) == (spoiled is not None or bool(before))


@pytest.mark.kernels("update_scale")
@pytest.mark.parametrize("start", [65536.0, 2.0**127, 2.0**-149])
def test_update_scale(cuda, start):
    """Two steps without an overflow double it, an overflow halves it; it stays finite."""
    overflows = [np.asarray(n, "int32") for n in (0, 0, 0, 1, 0, 0, 1)]

    def body(b, scale, growth, *overflows):
        scale, growth = (b.xp.asarray(a, copy=True) for a in (scale, growth))
        seen = []
        for found in overflows:
            scale, growth = b.update_scale_(scale, found, growth, 2.0, 0.5, 2)
            seen += [b.xp.asarray(scale, copy=True), b.xp.asarray(growth, copy=True)]
        return seen

    with np.errstate(all="ignore"):
        seen = cuda.agree(
            body, np.asarray(start, "f4"), np.asarray(0, "i4"), *overflows, layouts=LAYOUTS
        )
    if start == 65536.0:
        assert [float(a) / start for a in seen[::2]] == [1, 2, 2, 1, 1, 2, 1]
