"""Stochastic gradient descent, with momentum."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..backends import Backend
from ..backends.portable import optim_rules as rules
from .optimizer import Arrays, Group, Optimizer, State


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum if wanted (Xu 5.6.1; Sutskever et al. 2013).

        g = ∂L/∂p + λ p                             λ: weight_decay
        v = μ v + (1 - d) g     (v = g at first)    μ: momentum, d: dampening
        p = p - lr v,  or by Nesterov  p - lr (g + μ v)

    PyTorch's definition: the rate stands outside of v.  The textbook has it inside, v = γ v + lr g
    and p = p - v (Xu 5.1-5.2): the same at a constant rate, and different while v still remembers
    steps of another one.

    Args:
        params: parameters, or groups of them (see `Optimizer`).
        lr: the learning rate.
        maximize: climb instead of descend.
    """

    slots = ("momentum_buffer",)

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
            self.require(group, option)
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ValueError(
                "SGD: nesterov needs a momentum and no dampening; "
                f"momentum {group['momentum']}, dampening {group['dampening']}"
            )

    def advance(self, group: Group, states: list[State]) -> None:
        """There is no step to count."""

    def update(
        self, backend: Backend, group: Group, at: State, params: Arrays, grads: Arrays, *state: Any
    ) -> tuple[Any, ...]:
        (buffers,) = state
        return backend.sgd_(params, grads, buffers, rules.SGD.of(group))
