"""Stochastic gradient descent, with momentum or averaged."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..backends import Backend
from ..backends.portable import optim_rules as rules
from ..tensor import Tensor
from .optimizer import Arrays, Group, Optimizer, State, in_float32, zeros_like


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum if wanted (Xu 5.6.1; Sutskever et al. 2013).

        g = ∂L/∂p + λ p                             λ: weight_decay
        v = μ v + (1 - d) g     (v = g at first)    μ: momentum, d: dampening
        p = p - lr v,  or by Nesterov  p - lr (g + μ v)

    Nesterov's form is Xu 5.5-5.6.  PyTorch's definition: the rate stands outside of v.  The
    textbook has it inside, v = γ v + lr g and p = p - v (Xu 5.1-5.2): the same at a constant rate,
    and different while v still remembers steps of another one.

    Args:
        params: parameters, or groups of them (see `Optimizer`).
        lr: the learning rate.
        momentum: μ, at least 0; 0 keeps no v.
        dampening: d.
        weight_decay: λ, at least 0, of the penalty λ/2 |p|² (Xu 3.3-3.5, Liu, Saito, the lecture
            notes); Wang's λ |p|² is weight_decay = 2 λ.
        nesterov: whether the step looks ahead.
        maximize: climb instead of descend.

    Raises:
        ValueError: a rate, a momentum or a decay below 0; nesterov without momentum, or with
            dampening.
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
        """There is no step to count: nothing changes in the `states` of a `group`."""

    @property
    def skips_on_device(self) -> bool:
        """A buffer that starts from 0 and not from g is the same only without dampening."""
        return not any(group["dampening"] for group in self.param_groups)

    def update(
        self, backend: Backend, group: Group, at: State, params: Arrays, grads: Arrays, *state: Any
    ) -> tuple[Any, ...]:
        (buffers,) = state
        return backend.sgd_(params, grads, buffers, rules.SGD.of(group))


class ASGD(Optimizer):
    """Averaged SGD (Polyak and Juditsky 1992), as PyTorch defines it.

        g = ∂L/∂p + λ p                     λ: weight_decay
        p = (1 - l η) p - η g               l: lambd
        a = a + μ (p - a)
        η = lr / (1 + l lr t)^α             for the next step, with t the steps made
        μ = 1 / max(1, t - t0)

    The path of SGD wanders about the minimum; its mean a lies nearer.  The mean is taken from step
    t0 on, before that a = p; it is in `opt.state[p]["ax"]`, and copying it into the parameters when
    training is over is left to the caller.  η and μ are kept in float32 also where the parameters
    are float64, because PyTorch does (in its default dtype).

    Args:
        params: parameters, or groups of them (see `Optimizer`).
        lr: the learning rate; η at first.
        lambd: l, how fast η falls; it also draws p towards 0.
        alpha: α, the power by which η falls.
        t0: the step from which on the mean is taken.
        weight_decay: λ, at least 0.
        maximize: climb instead of descend.

    Raises:
        ValueError: a rate or a decay below 0.
    """

    slots = ("ax",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "lambd": lambd,
                "alpha": alpha,
                "t0": t0,
                "weight_decay": weight_decay,
                "maximize": maximize,
            },
        )

    def check(self, group: Group) -> None:
        for option in ("lr", "weight_decay"):
            self.require(group, option)

    def start(self, p: Tensor, group: Group) -> State:
        return {"step": 0, "eta": in_float32(group["lr"]), "mu": 1.0, "ax": zeros_like(p)}

    def progress(self, state: State) -> Any:
        return state["step"], state["eta"], state["mu"]

    def advance(self, group: Group, states: list[State]) -> None:
        """Count a step and set η and μ for the next; those of this one go to `update`.

        Args:
            group: the options.
            states: of the parameters that are about to take it; their numbers are changed.
        """
        self._eta, self._mu = states[0]["eta"], states[0]["mu"]
        super().advance(group, states)
        t, lr, lambd = states[0]["step"], group["lr"], group["lambd"]
        for state in states:
            state["eta"] = in_float32(lr / (1 + lambd * lr * t) ** group["alpha"])
            state["mu"] = in_float32(1 / max(1, t - group["t0"]))

    def update(
        self, backend: Backend, group: Group, at: State, params: Arrays, grads: Arrays, *state: Any
    ) -> tuple[Any, ...]:
        (averages,) = state
        rule = rules.ASGD.of(
            group, lr=self._eta, shrink=1 - group["lambd"] * self._eta, share=self._mu
        )
        return backend.asgd_(params, grads, averages, rule)
