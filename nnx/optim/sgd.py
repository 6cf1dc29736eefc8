"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..backends import Backend
from ..tensor import Tensor
from .optimizer import Group, Optimizer, State


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum if wanted.

    g = ∂L/∂p + λ p                             λ: weight_decay
    v = μ v + (1 - d) g     (v = g at first)    μ: momentum, d: dampening
    p = p - lr v,  or by Nesterov  p - lr (g + μ v)
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
                "maximize": maximize,
            },
        )

    def check(self, group: Group) -> None:
        for option in ("lr", "momentum", "weight_decay"):
            self.require(group, option, 0.0)
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ValueError(
                "SGD: nesterov needs a momentum and no dampening; "
                f"momentum {group['momentum']}, dampening {group['dampening']}"
            )

    def progress(self, state: State) -> Any:
        return "momentum_buffer" in state

    def update(
        self, backend: Backend, group: Group, params: list[Tensor], states: list[State]
    ) -> None:
        buffers = [s["momentum_buffer"] for s in states] if "momentum_buffer" in states[0] else None
        momentum = group["momentum"]
        new, buffers = backend.sgd_(
            [p.data for p in params],
            [p.grad for p in params],
            buffers,
            group["lr"],
            momentum,
            group["dampening"],
            group["nesterov"],
            group["weight_decay"],
            group["maximize"],
        )
        for p, array in zip(params, new, strict=True):
            p.data = array
        if buffers is not None:
            for state, buffer in zip(states, buffers, strict=True):
                state["momentum_buffer"] = buffer
