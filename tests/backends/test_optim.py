"""Optimizer kernels against their portable twins, on arrays of several blocks."""

import inspect

import numpy as np
import pytest

from nnx.backends import Backend
from nnx.backends.portable import OptimKernels

SHAPES = [(130, 200), (40,), (), (0, 3), (20000,)]
LAYOUTS = ["contiguous", "transposed", "strided"]

# kernel, how many arrays of state, of which may be None, numbers
CASES = [
    ("sgd_", ["none"], (0.1, 0.0, 0.0, False, 0.0, False)),
    ("sgd_", ["none"], (0.1, 0.0, 0.0, False, 0.01, True)),
    ("sgd_", ["none"], (0.1, 0.9, 0.0, False, 0.01, True)),  # the first step
    ("sgd_", ["any"], (0.1, 0.9, 0.0, False, 0.0, False)),
    ("sgd_", ["any"], (0.1, 0.9, 0.2, False, 0.01, True)),
    ("sgd_", ["any"], (0.1, 0.9, 0.0, True, 0.01, False)),
    ("adagrad_", ["positive"], (0.1, 1e-10, 0.0, False)),
    ("adagrad_", ["positive"], (0.1, 1e-2, 0.01, True)),
    ("rmsprop_", ["positive", "none", "none"], (0.1, 0.9, 1e-8, 0.0, 0.0, False)),
    ("rmsprop_", ["positive", "none", "any"], (0.1, 0.9, 1e-2, 0.01, 0.8, True)),
    ("rmsprop_", ["positive", "small", "none"], (0.1, 0.9, 1e-2, 0.01, 0.0, False)),
    ("rmsprop_", ["positive", "small", "any"], (0.1, 0.9, 1e-2, 0.0, 0.8, False)),
    ("adadelta_", ["positive", "positive"], (0.5, 0.9, 1e-6, 0.0, False)),
    ("adadelta_", ["positive", "positive"], (0.5, 0.8, 1e-2, 0.01, True)),
    ("adam_", ["any", "positive", "none"], (1, 0.1, 0.9, 0.999, 1e-8, 0.0, False, False)),
    ("adam_", ["any", "positive", "none"], (7, 0.1, 0.8, 0.9, 1e-2, 0.1, False, True)),
    ("adam_", ["any", "positive", "none"], (7, 0.1, 0.8, 0.9, 1e-2, 0.1, True, True)),
    ("adam_", ["any", "positive", "positive"], (7, 0.1, 0.8, 0.9, 1e-2, 0.1, True, False)),
    ("adam_", ["any", "positive", "positive"], (7, 0.1, 0.8, 0.9, 1e-2, 0.1, False, False)),
    ("nadam_", ["any", "positive"], (7, 0.1, 0.2, 0.1, 0.8, 0.9, 1e-2, 0.1, True, True)),
    ("radam_", ["any", "positive"], (0.1, 0.2, 0.1, 0.8, 0.9, 1e-2, 0.1, False, True)),
    ("adamax_", ["any", "positive"], (0.1, 0.8, 0.9, 1e-2, 0.1, True)),
]
IDS = [f"{name}-{'-'.join(map(str, (*state, *numbers)))}" for name, state, numbers in CASES]


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


@pytest.mark.parametrize("backend", ["numpy", "jit", "readonly", "strict", GPU], indirect=True)
@pytest.mark.parametrize("name, state, numbers", CASES, ids=IDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_agrees_with_its_twin(backend, name, state, numbers, dtype):
    if dtype == "float64":
        backend.skip_without_float64()
    given = [arrays(k, dtype, seed) for seed, k in enumerate(["any", "any", *state])]
    expected = getattr(Backend(np, "numpy"), name)(*given, *numbers)
    for layout in LAYOUTS if backend.xp is np else LAYOUTS[:1]:
        lists = [None if xs is None else [laid_out(backend, x, layout) for x in xs] for xs in given]
        actual = getattr(backend.backend, name)(*lists, *numbers)
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


@pytest.mark.parametrize("backend", ["numpy", "jit"], indirect=True)
def test_parameters_are_updated_in_place(backend):
    """What makes the step cheap on the CPU: no new arrays where the old ones may be written to."""
    for name, state, numbers in CASES[4:19]:
        lists = [arrays(k, "float32", seed) for seed, k in enumerate(["any", "any", *state])]
        result = getattr(backend.backend, name)(*lists, *numbers)
        for given, kept in zip([lists[0], *lists[2:]], result, strict=True):
            assert (given is None and kept is None) or all(
                a is b for a, b in zip(given, kept, strict=True)
            )


def test_fast_kernels_keep_the_signature():
    from nnx.backends.cpu.optim import NumpyOptim
    from nnx.backends.jit.optim import JitOptim

    for fast in (NumpyOptim, JitOptim):
        for name, method in vars(fast).items():
            if not name.startswith("_"):
                twin = getattr(OptimKernels, name)
                assert inspect.signature(method) == inspect.signature(twin), (fast, name)
