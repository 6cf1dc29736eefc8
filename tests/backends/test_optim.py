"""Optimizer kernels against their portable twins, on arrays of several blocks."""

import inspect
import tracemalloc

import numpy as np
import pytest

from nnx.backends import Backend, get_backend
from nnx.backends.cpu import optim
from nnx.backends.numpy import NumpyBackend
from nnx.backends.portable import OptimKernels
from nnx.backends.portable import optim_rules as rules

SHAPES = [(130, 20), (40,), (), (0, 3), (2000,)]
LAYOUTS = ["contiguous", "transposed", "strided"]

MIXED = {"lr": 0.1, "weight_decay": 0.01}
ADAM = {"lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-2, "weight_decay": 0.1}

# kernel, the arrays of state, the rule
CASES = [
    ("sgd_", ["none"], rules.SGD(lr=0.1)),
    ("sgd_", ["none"], rules.SGD(**MIXED, maximize=True)),
    ("sgd_", ["none"], rules.SGD(**MIXED, momentum=0.9, maximize=True)),  # the first step
    ("sgd_", ["any"], rules.SGD(lr=0.1, momentum=0.9)),
    ("sgd_", ["any"], rules.SGD(**MIXED, momentum=0.9, dampening=0.2, maximize=True)),
    ("sgd_", ["any"], rules.SGD(**MIXED, momentum=0.9, nesterov=True)),
    ("adagrad_", ["positive"], rules.Adagrad(lr=0.1, eps=1e-10)),
    ("adagrad_", ["positive"], rules.Adagrad(**MIXED, eps=1e-2, maximize=True)),
    ("rmsprop_", ["positive", "none", "none"], rules.RMSprop(lr=0.1, alpha=0.9, eps=1e-8)),
    (
        "rmsprop_",
        ["positive", "none", "any"],
        rules.RMSprop(**MIXED, alpha=0.9, eps=1e-2, momentum=0.8, maximize=True),
    ),
    ("rmsprop_", ["positive", "small", "none"], rules.RMSprop(**MIXED, alpha=0.9, eps=1e-2)),
    (
        "rmsprop_",
        ["positive", "small", "any"],
        rules.RMSprop(lr=0.1, alpha=0.9, eps=1e-2, momentum=0.8),
    ),
    ("adadelta_", ["positive", "positive"], rules.Adadelta(lr=0.5, rho=0.9, eps=1e-6)),
    (
        "adadelta_",
        ["positive", "positive"],
        rules.Adadelta(lr=0.5, weight_decay=0.01, rho=0.8, eps=1e-2, maximize=True),
    ),
    (
        "adam_",
        ["any", "positive", "none"],
        rules.Adam(lr=0.1, betas=(0.9, 0.999), eps=1e-8, step=1),
    ),
    ("adam_", ["any", "positive", "none"], rules.Adam(**ADAM, step=7, maximize=True)),
    (
        "adam_",
        ["any", "positive", "none"],
        rules.Adam(**ADAM, step=7, decoupled=True, maximize=True),
    ),
    ("adam_", ["any", "positive", "positive"], rules.Adam(**ADAM, step=7, decoupled=True)),
    ("adam_", ["any", "positive", "positive"], rules.Adam(**ADAM, step=7)),
    (
        "nadam_",
        ["any", "positive"],
        rules.NAdam(
            **ADAM, step=7, gradient_rate=0.1, average_rate=0.2, decoupled=True, maximize=True
        ),
    ),
    (
        "radam_",
        ["any", "positive"],
        rules.RAdam(**ADAM, average_rate=0.1, adaptive_rate=0.2, maximize=True),
    ),
    ("adamax_", ["any", "positive"], rules.Adamax(**ADAM, maximize=True)),
    ("asgd_", ["any"], rules.ASGD(lr=0.1, weight_decay=0.01, shrink=0.9, share=0.3)),
    ("asgd_", ["any"], rules.ASGD(lr=0.1, shrink=1.0, share=1.0, maximize=True)),
    ("rprop_", ["any", "positive"], rules.Rprop(lr=0.1, etas=(0.5, 1.2), step_sizes=(0.1, 1.5))),
]


def arrays(kind, dtype, seed):
    """One array per shape, as lists of NumPy arrays; None for "none"."""
    rng = np.random.default_rng(seed)
    if kind == "none":
        return None
    xs = [np.asarray(rng.standard_normal(s)) for s in SHAPES]
    if kind == "positive":
        xs = [1 + x * x for x in xs]
    if kind == "small":
        xs = [0.1 * x for x in xs]
    return [np.asarray(x, dtype) for x in xs]


def laid_out(backend, x, layout):
    if layout == "transposed" and x.ndim == 2:
        return backend.xp.permute_dims(backend.asarray(np.ascontiguousarray(x.T)), (1, 0))
    if layout == "strided":
        return backend.strided(x)
    return backend.asarray(x)


GPU = pytest.param("cupy", marks=pytest.mark.gpu)


@pytest.mark.parametrize(
    "backend", ["numpy", "jit", "readonly", "strict-device1", GPU], indirect=True
)
@pytest.mark.parametrize("name, state, rule", CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_agrees_with_its_twin(backend, name, state, rule, dtype, monkeypatch):
    monkeypatch.setattr(optim, "BLOCK", 900)
    if dtype == "float64":
        backend.skip_without_float64()
    given = [arrays(k, dtype, seed) for seed, k in enumerate(["any", "any", *state])]
    expected = getattr(Backend(np, "numpy"), name)(*given, rule)
    for layout in LAYOUTS if backend.xp is np else LAYOUTS[:1]:
        lists = [None if xs is None else [laid_out(backend, x, layout) for x in xs] for xs in given]
        actual = getattr(backend.backend, name)(*lists, rule)
        for e, a in zip(expected, actual, strict=True):
            assert (e is None) == (a is None)
            for x, y in zip(e or [], a or [], strict=True):
                assert y.dtype == lists[0][0].dtype and tuple(y.shape) == x.shape
                tolerance = 3e-6 if dtype == "float32" else 1e-14
                np.testing.assert_allclose(
                    backend.to_numpy(y), x, rtol=tolerance, atol=tolerance, err_msg=layout
                )
        for before, after in zip(given[1], lists[1], strict=True):
            np.testing.assert_array_equal(backend.to_numpy(after), before)  # gradients


@pytest.mark.parametrize("backend", ["numpy", "jit", "readonly"], indirect=True)
def test_a_step_of_nothing(backend):
    for name, state, rule in CASES:
        lists = [None if kind == "none" else [] for kind in ["any", "any", *state]]
        for kept in getattr(backend.backend, name)(*lists, rule):
            assert not kept


@pytest.mark.parametrize("backend", ["numpy", "jit"], indirect=True)
def test_parameters_are_updated_in_place(backend):
    """What makes the step cheap on the CPU: no new arrays where the old ones may be written to."""
    for name, state, rule in CASES:
        lists = [arrays(k, "float32", seed) for seed, k in enumerate(["any", "any", *state])]
        result = getattr(backend.backend, name)(*lists, rule)
        for given, kept in zip([lists[0], *lists[2:]], result, strict=True):
            assert given is None or all(a is b for a, b in zip(given, kept, strict=True))


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name, state, rule", CASES)
def test_a_step_takes_little_beside_its_arrays(compiled, name, state, rule, monkeypatch):
    """The first one too, which makes the state of momentum: no second network, nor its state."""
    monkeypatch.setattr(optim, "BLOCK", 4096)
    step = getattr(get_backend("numpy") if compiled else NumpyBackend(), name)  # if numba is there
    kinds = ["any", "any", *state]
    lists = [None if k == "none" else [np.ones((400, 500), "f4") for _ in "ab"] for k in kinds]
    step(*[None if xs is None else [x[:20] for x in xs] for xs in lists], rule)  # compiled
    tracemalloc.start()
    _, *kept = step(*lists, rule)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    if name == "sgd_" and lists[2] is None and rule.momentum:
        peak -= sum(v.nbytes for v in kept[0])
    assert peak < lists[0][0].nbytes / 2


def test_fast_kernels_keep_the_signature():
    from nnx.backends.cpu.optim import NumpyOptim
    from nnx.backends.jit.optim import JitOptim

    for fast in (NumpyOptim, JitOptim):
        for name, method in vars(fast).items():
            if not name.startswith("_"):
                twin = getattr(OptimKernels, name)
                assert inspect.signature(method) == inspect.signature(twin), (fast, name)
