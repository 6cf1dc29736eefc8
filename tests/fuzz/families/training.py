"""Training steps: an optimizer with any options, a schedule, a checkpoint on the way."""

from __future__ import annotations

from typing import Any

import numpy as np

import nnx
from nnx import nn, ops, optim
from nnx.optim import lr_scheduler

from ..case import Case, Input
from ..draw import Draw
from ..pytorch import functional, torch

NAMES = ["SGD", "SGD", "Adam", "AdamW", "NAdam", "RAdam", "Adamax", "Adagrad", "RMSprop"]
NAMES += ["Adadelta"]


def training(draw: Draw) -> Case:
    """A small network learns for a few steps; parameters and rates are compared."""
    name, options = _optimizer(draw)
    # PyTorch multiplies NAdam's momentum in float32, whatever the parameters' dtype
    dtype = "float32" if draw.chance(0.3) or name == "NAdam" else "float64"
    n, d, hidden = max(2, draw.size(9)), max(1, draw.size(9)), max(1, draw.size(9))
    steps = draw.between(1, 6)
    inputs = [
        Input(draw.values((n, d), dtype), False),
        Input(draw.values((n, 2), dtype), False),
        *[
            Input((draw.values(s, dtype) * 0.5).astype(dtype), False)
            for s in ((hidden, d), (hidden,), (2, hidden), (2,), ())
        ],
    ]
    schedule = _schedule(draw, steps, options)
    two_groups = draw.chance(0.3)
    saved_at = draw.between(1, steps) if draw.chance(0.4) else None
    clip = draw.choice([None, None, "norm", "value"])
    batches = draw.chance(0.3)

    def grouped(parameters: list[Any]) -> list[Any]:
        if not two_groups:
            return parameters
        return [
            {"params": parameters[:2]},
            {"params": parameters[2:], "lr": options["lr"] * 0.5, "weight_decay": 0.01},
        ]

    def ours(x: Any, t: Any, *start: Any) -> Any:
        xp = nnx.backends.backend_of(x.data).xp
        ps = [nn.Parameter(xp.asarray(p.data, copy=True)) for p in start]
        make = lambda: getattr(optim, name)(grouped(ps), **options)  # noqa: E731
        optimizer = make()
        plan = schedule and schedule(lr_scheduler, optimizer)
        rates = []
        for k in range(steps):
            if k == saved_at:
                state, planned = optimizer.state_dict(), plan and plan.state_dict()
                optimizer = make()
                plan = schedule and schedule(lr_scheduler, optimizer)
                optimizer.load_state_dict(state)
                if plan:
                    plan.load_state_dict(planned)
            optimizer.zero_grad()
            part = slice(k % 2, None, 2) if batches else slice(None)
            y = ops.silu(ops.linear(x[part], ps[0], ps[1])) * ps[4]
            loss = ops.mse_loss(ops.linear(y, ps[2], ps[3]), t[part])
            loss.backward()
            if clip == "norm":
                nn.utils.clip_grad_norm_(ps, 0.5)
            elif clip == "value":
                nn.utils.clip_grad_value_(ps, 0.1)
            optimizer.step()
            if plan:
                _advance(plan, k)
            rates += [group["lr"] for group in optimizer.param_groups]
        return [*[p.data for p in ps], np.asarray(rates)]

    def theirs(x: Any, t: Any, *start: Any) -> Any:
        lib = torch()
        ps = [p.detach().clone().requires_grad_() for p in start]
        optimizer = getattr(lib.optim, name)(grouped(ps), **options)
        plan = schedule and schedule(lib.optim.lr_scheduler, optimizer)
        rates = []
        for k in range(steps):
            optimizer.zero_grad()
            part = slice(k % 2, None, 2) if batches else slice(None)
            y = functional().silu(x[part] @ ps[0].mT + ps[1]) * ps[4]
            functional().mse_loss(y @ ps[2].mT + ps[3], t[part]).backward()
            if clip == "norm":
                lib.nn.utils.clip_grad_norm_(ps, 0.5)
            elif clip == "value":
                lib.nn.utils.clip_grad_value_(ps, 0.1)
            optimizer.step()
            if plan:
                _advance(plan, k)
            rates += [float(group["lr"]) for group in optimizer.param_groups]
        return [*[p.detach() for p in ps], np.asarray(rates)]

    says = f"{steps} steps of {name}({options}), {schedule.__doc__ if schedule else 'no schedule'}"
    says += f", clip {clip}, groups {1 + two_groups}, saved at {saved_at}"
    return Case(says, inputs, ours, theirs, slack=16, cancels=True)


def _advance(plan: Any, k: int) -> None:
    if type(plan).__name__ == "ReduceLROnPlateau":
        plan.step([1.0, 1.0, 0.5, 0.6, 0.7, 0.4][k])
    else:
        plan.step()


def _optimizer(draw: Draw) -> tuple[str, dict[str, Any]]:
    name = draw.choice(NAMES)
    o: dict[str, Any] = {"lr": draw.choice([0.1, 0.01, 0.5])}
    if draw.chance(0.4):
        o["weight_decay"] = draw.choice([0.1, 0.01])
    if draw.chance(0.15):
        o["maximize"] = True
    if name == "SGD":
        if draw.chance(0.6):
            o["momentum"] = draw.choice([0.9, 0.5])
            if draw.chance(0.4):
                o["nesterov"] = True
            elif draw.chance(0.4):
                o["dampening"] = 0.3
    elif name in ("Adam", "AdamW", "NAdam", "RAdam", "Adamax"):
        if draw.chance(0.4):
            o["betas"] = draw.choice([(0.8, 0.9), (0.5, 0.99), (0.0, 0.9)])
        if name in ("Adam", "AdamW") and draw.chance(0.3):
            o["amsgrad"] = True
        if name in ("NAdam", "RAdam") and draw.chance(0.3):
            o["decoupled_weight_decay"] = True
    elif name == "Adagrad":
        if draw.chance(0.4):
            o |= {"lr_decay": 0.1, "initial_accumulator_value": 0.2}
    elif name == "RMSprop":
        if draw.chance(0.5):
            o |= {"alpha": 0.8, "centered": draw.chance(0.5)}
        if draw.chance(0.4):
            o["momentum"] = 0.5
    elif draw.chance(0.5):
        o["rho"] = 0.5
    if draw.chance(0.3) and name != "SGD":
        o["eps"] = draw.choice([1e-4, 1e-2])
    return name, o


def _schedule(draw: Draw, steps: int, options: dict[str, Any]) -> Any:
    """A function of (the library's schedules, an optimizer); None: a constant rate."""
    kinds: dict[str, dict[str, Any]] = {
        "StepLR": {"step_size": draw.between(1, 3), "gamma": 0.5},
        "MultiStepLR": {"milestones": [1, 3], "gamma": 0.5},
        "ExponentialLR": {"gamma": 0.8},
        "ConstantLR": {"factor": 0.5, "total_iters": draw.between(1, 4)},
        "LinearLR": {"start_factor": 0.25, "end_factor": 0.9, "total_iters": draw.between(1, 4)},
        "PolynomialLR": {"total_iters": draw.between(1, 5), "power": draw.choice([1.0, 2.0])},
        "CosineAnnealingLR": {"T_max": draw.between(1, 4), "eta_min": draw.choice([0.0, 0.01])},
        "CosineAnnealingWarmRestarts": {"T_0": draw.between(1, 3), "T_mult": draw.between(1, 2)},
        "OneCycleLR": {
            "max_lr": 0.3,
            "total_steps": steps + 1,
            "anneal_strategy": draw.choice(["cos", "linear"]),
            "three_phase": draw.chance(0.4),
            "cycle_momentum": "momentum" in options,
        },
        "CyclicLR": {
            "base_lr": 0.01,
            "max_lr": 0.2,
            "step_size_up": draw.between(1, 3),
            "mode": draw.choice(["triangular", "triangular2", "exp_range"]),
            "gamma": 0.9,
            "cycle_momentum": "momentum" in options,
        },
        "ReduceLROnPlateau": {"factor": 0.5, "patience": draw.between(0, 2), "cooldown": 1},
        "LambdaLR": {"lr_lambda": _falling},
    }
    kind = draw.choice([None, *kinds])
    if kind is None:
        return None

    def make(schedules: Any, optimizer: Any) -> Any:
        return getattr(schedules, kind)(optimizer, **kinds[kind])

    make.__doc__ = f"{kind}({'' if kind == 'LambdaLR' else kinds[kind]})"
    return make


def _falling(epoch: int) -> float:
    return 0.9**epoch
