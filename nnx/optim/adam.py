"""Adam and its relatives."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..backends import Backend
from ..tensor import Tensor
from .optimizer import Group, Optimizer, State, zeros_like


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015): steps scaled by running estimates of two moments.

        m = β1 m + (1-β1) g        m̂ = m / (1 - β1^t)
        s = β2 s + (1-β2) g²       ŝ = s / (1 - β2^t)
        p = p - lr m̂ / (√ŝ + ε)

    t counts the steps of each parameter, from 1: m and s start at zero, and dividing by 1 - β^t
    undoes that bias.
    """

    decoupled = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "amsgrad": amsgrad,
                "maximize": maximize,
            },
        )

    def check(self, group: Group) -> None:
        for option in ("lr", "eps", "weight_decay"):
            self.require(group, option, 0.0)
        if not all(0 <= beta < 1 for beta in group["betas"]):
            raise ValueError(
                f"{type(self).__name__}: betas must be at least 0 and below 1, got {group['betas']}"
            )

    def start(self, p: Tensor, group: Group) -> State:
        state = {"step": 0, "exp_avg": zeros_like(p), "exp_avg_sq": zeros_like(p)}
        if group["amsgrad"]:
            state["max_exp_avg_sq"] = zeros_like(p)
        return state

    def update(
        self, backend: Backend, group: Group, params: list[Tensor], states: list[State]
    ) -> None:
        step = states[0]["step"] + 1
        amsgrad, (beta1, beta2) = group["amsgrad"], group["betas"]
        new, averages, squares, maxima = backend.adam_(
            [p.data for p in params],
            [p.grad for p in params],
            [s["exp_avg"] for s in states],
            [s["exp_avg_sq"] for s in states],
            [s["max_exp_avg_sq"] for s in states] if amsgrad else None,
            step,
            group["lr"],
            beta1,
            beta2,
            group["eps"],
            group["weight_decay"],
            self.decoupled,
            group["maximize"],
        )
        for k, (p, state) in enumerate(zip(params, states, strict=True)):
            p.data = new[k]
            state["step"] = step
            state["exp_avg"] = averages[k]
            state["exp_avg_sq"] = squares[k]
            if maxima is not None:
                state["max_exp_avg_sq"] = maxima[k]
