"""Optimizers: equal to PyTorch's, on every backend; groups, frozen and shared parameters, state."""

import functools

import numpy as np
import pytest

from nnx import nn, optim

# name, options
CASES = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "weight_decay": 1e-2}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 1e-2}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-2}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "maximize": True, "weight_decay": 1e-2}),
    ("Adagrad", {}),
    ("Adagrad", {"lr_decay": 0.1, "weight_decay": 1e-2, "initial_accumulator_value": 0.3}),
    ("Adagrad", {"maximize": True, "eps": 1e-3}),
    ("RMSprop", {}),
    ("RMSprop", {"alpha": 0.9, "weight_decay": 1e-2, "momentum": 0.8, "eps": 1e-3}),
    ("RMSprop", {"centered": True, "maximize": True}),
    ("RMSprop", {"centered": True, "momentum": 0.8}),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 0.5, "rho": 0.8, "eps": 1e-3, "weight_decay": 1e-2, "maximize": True}),
    ("Adam", {}),
    ("Adam", {"betas": (0.8, 0.9), "eps": 1e-2, "weight_decay": 1e-2}),
    ("Adam", {"amsgrad": True, "maximize": True, "weight_decay": 1e-2}),
    ("AdamW", {}),
    ("AdamW", {"weight_decay": 0.3, "amsgrad": True, "betas": (0.5, 0.6)}),
    ("AdamW", {"weight_decay": 0.3, "maximize": True}),
    ("NAdam", {}),
    ("NAdam", {"weight_decay": 0.1, "momentum_decay": 0.1, "betas": (0.8, 0.9)}),
    ("NAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True}),
    ("RAdam", {}),
    ("RAdam", {"betas": (0.8, 0.9), "weight_decay": 0.1}),  # rectified from the 6th step on
    ("RAdam", {"betas": (0.8, 0.9), "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RAdam", {"maximize": True}),
    ("Adamax", {}),
    ("Adamax", {"betas": (0.8, 0.9), "weight_decay": 0.1, "eps": 1e-3, "maximize": True}),
]
IDS = [f"{name}-{'-'.join(options)}" for name, options in CASES]

SHAPES = [(3, 4), (4,), (), (2, 1, 3), (0, 2)]
STEPS = 24
FEW_STEPS = 4  # for array_api_strict, whose calls are slow and whose kernels are the portable ones


def parameters(dtype):
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape).astype(dtype) for shape in SHAPES]


def gradients(dtype, step):
    """Of very different sizes, some exactly zero; the second parameter has none now and then."""
    rng = np.random.default_rng(1000 + step)
    grads = [
        np.asarray(rng.standard_normal(s) * 10.0 ** rng.integers(-3, 2, s), dtype) for s in SHAPES
    ]
    grads[0][0, :2] = 0
    if step < 2 or 9 < step < 12:
        grads[1] = None
    return grads


def rate(first, step):
    """A learning rate that changes: PyTorch's momentum and the textbook's then differ."""
    return first * (1.0 if step < 5 else 0.3 if step < 15 else 2.0)


@functools.cache
def by_pytorch(case, dtype):
    """The parameters after FEW_STEPS and after STEPS."""
    torch = pytest.importorskip("torch")
    name, options = CASES[case]
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))  # NAdam keeps a product of numbers in it
    try:
        ps = [torch.nn.Parameter(torch.tensor(p)) for p in parameters(dtype)]
        opt = getattr(torch.optim, name)(ps, **options, foreach=False)
        first = opt.param_groups[0]["lr"]
        after = {}
        for step in range(STEPS):
            opt.param_groups[0]["lr"] = rate(first, step)
            for p, g in zip(ps, gradients(dtype, step), strict=True):
                p.grad = None if g is None else torch.tensor(g)
            opt.step()
            after[step + 1] = [p.detach().numpy().copy() for p in ps]
        return after
    finally:
        torch.set_default_dtype(before)


def by_nnx(case, dtype, steps, asarray, to_numpy):
    name, options = CASES[case]
    ps = [nn.Parameter(asarray(p)) for p in parameters(dtype)]
    opt = getattr(optim, name)(ps, **options)
    first = opt.param_groups[0]["lr"]
    for step in range(steps):
        opt.param_groups[0]["lr"] = rate(first, step)
        grads = gradients(dtype, step)
        for p, g in zip(ps, grads, strict=True):
            p.grad = None if g is None else asarray(g)
        given = [p.grad for p in ps]
        opt.step()
        for p, g, before in zip(ps, given, grads, strict=True):
            if before is not None:
                assert p.data.dtype == g.dtype
                np.testing.assert_array_equal(to_numpy(g), before, "a gradient was written")
    return [to_numpy(p.data) for p in ps]


@pytest.mark.parametrize("case", range(len(CASES)), ids=IDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_equals_pytorch(backend, case, dtype):
    if dtype == "float64":
        backend.skip_without_float64()
    steps = FEW_STEPS if backend.kind.startswith("strict") else STEPS
    expected = by_pytorch(case, dtype)[steps]
    actual = by_nnx(case, dtype, steps, backend.asarray, backend.to_numpy)
    tolerance = 2e-5 if dtype == "float32" else 1e-12
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, e, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("case", range(1, len(CASES), 3), ids=IDS[1::3])
def test_strided_parameters_and_gradients(backend, case):
    plain = by_nnx(case, "float32", 2, backend.asarray, backend.to_numpy)
    strided = by_nnx(case, "float32", 2, backend.strided, backend.to_numpy)
    for a, e in zip(strided, plain, strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-5, atol=1e-6)
