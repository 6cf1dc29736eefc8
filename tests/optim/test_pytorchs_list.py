"""PyTorch's own list of optimizer configurations: each agrees over many steps, in float64, at 1e-9.

The list is the one that PyTorch tests itself by.  Of its optimizers nnx has not: SparseAdam (there
are no sparse gradients here), Muon (defined in bfloat16, which has three digits) and Adafactor.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from pytorch_internals import own_samples

from nnx import nn, optim

torch = pytest.importorskip("torch")

STEPS = 100
STEPS_OF = {"LBFGS": 30}  # each of which evaluates the loss up to 25 times
OURS = frozenset()  # optimizers that PyTorch has not, by their names
NAMES = sorted(set(optim.__all__) - {"Optimizer", "lr_scheduler"} - OURS)
NOT_HERE = {"SparseAdam", "Muon", "Adafactor"}
SCHEDULES = {
    "constant": None,
    "steps": ("StepLR", {"step_size": 10, "gamma": 0.7}),
    "exponential": ("ExponentialLR", {"gamma": 0.97}),
    "cosine": ("CosineAnnealingLR", {"T_max": 60, "eta_min": 1e-4}),
    "warm-up": ("LinearLR", {"start_factor": 0.1, "total_iters": 30}),
}
SHAPES = [(3, 4), (4,), (), (2, 1, 3)]
RNG = np.random.default_rng(0)
START = [RNG.standard_normal(shape) for shape in SHAPES]
CENTRE = [RNG.standard_normal(shape) for shape in SHAPES]
STEEP = [RNG.uniform(0.5, 3, shape) for shape in SHAPES]


QUASI_NEWTON = (optim.LBFGS, torch.optim.LBFGS)


@cache
def configurations():
    """name -> the options of each of its configurations; not at import, which takes seconds."""
    return {
        info.optim_cls.__name__: [one.kwargs for one in info.optim_inputs_func(device="cpu")]
        for info in own_samples("common_optimizers").optim_db
        if info.optim_cls.__name__ not in NOT_HERE
    }


def loss_and_slopes(ps, bowl):
    """Σ log cosh z + bowl z²/2 for z = a (p - c): curved, with a minimum.

    Without the bowl the slopes never grow, also where the loss is maximised; with it the curvature
    never vanishes, and quasi-Newton steps of full length converge.
    """
    zs = [a * (p - c) for p, c, a in zip(ps, CENTRE, STEEP, strict=True)]
    loss = sum(float(np.sum(np.logaddexp(z, -z) + bowl * z * z / 2)) for z in zs)
    return loss, [a * (np.tanh(z) + bowl * z) for z, a in zip(zs, STEEP, strict=True)]


def run(make, schedulers, ps, schedule, read, write):
    """The parameters after so many steps of one library's optimizer."""
    opt = make(ps)
    by = None if schedule is None else getattr(schedulers, schedule[0])(opt, **schedule[1])

    def closure():
        loss, slopes = loss_and_slopes([read(p) for p in ps], 4 * isinstance(opt, QUASI_NEWTON))
        for p, g in zip(ps, slopes, strict=True):
            p.grad = write(g)
        return loss

    for _ in range(STEPS_OF.get(type(opt).__name__, STEPS)):
        opt.step(closure)
        if by is not None:
            by.step()
    return [read(p) for p in ps]


LONG = {"LBFGS": ("constant", "warm-up")}  # whose steps take long: under these alone
PAIRS = [(name, label) for name in NAMES for label in LONG.get(name, SCHEDULES)]


@pytest.mark.parametrize("name, label", PAIRS)
def test_equals_pytorch(name, label):
    schedule = SCHEDULES[label]
    for theirs in configurations()[name]:
        if schedule is not None and any(torch.is_tensor(value) for value in theirs.values()):
            continue  # PyTorch then multiplies the rate in float32
        ours = {key: float(v) if torch.is_tensor(v) else v for key, v in theirs.items()}
        expected = run(
            lambda ps, options=theirs: getattr(torch.optim, name)(ps, **options),
            torch.optim.lr_scheduler,
            [torch.nn.Parameter(torch.tensor(p)) for p in START],
            schedule,
            lambda p: p.detach().numpy().copy(),
            lambda g: torch.tensor(g),
        )
        actual = run(
            lambda ps, options=ours: getattr(optim, name)(ps, **options),
            optim.lr_scheduler,
            [nn.Parameter(p.copy()) for p in START],
            schedule,
            lambda p: np.array(p.data),
            lambda g: np.array(g),
        )
        for a, e, start in zip(actual, expected, START, strict=True):
            np.testing.assert_allclose(a, e, rtol=1e-9, atol=1e-9, err_msg=f"of {theirs}")
            assert np.all(a != start), theirs


def test_the_list_is_whole():
    """Every optimizer that both libraries have is in the list with some configurations."""
    assert set(configurations()) == set(NAMES)
    assert sum(map(len, configurations().values())) >= 75
