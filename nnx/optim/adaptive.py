"""Adagrad, RMSprop and Adadelta: a rate for each weight, from the gradients it has seen."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..backends import Backend, backend_of
from ..backends.portable import optim_rules as rules
from ..tensor import Tensor
from .optimizer import Arrays, Group, Optimizer, State, zeros_like


class Adagrad(Optimizer):
    """Adagrad (Duchi et al. 2011; Xu 5.9): the more a weight has moved, the less it moves.

        g = ∂L/∂p + λ p
        s = s + g²
        p = p - lr / (1 + (t-1) η) g / (√s + ε)        η: lr_decay, t: the step, from 1

    ε stands outside of the root, as in PyTorch and in the textbook's code, not inside as in its
    equation 5.10.

    Args:
        params: parameters, or groups of them (see `Optimizer`).
        lr: the learning rate.
        lr_decay: η.
        weight_decay: λ.
        initial_accumulator_value: s at first.
        eps: ε.
        maximize: climb instead of descend.

    Raises:
        ValueError: one of these numbers is below 0.
    """

    slots = ("sum",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "lr_decay": lr_decay,
                "weight_decay": weight_decay,
                "initial_accumulator_value": initial_accumulator_value,
                "eps": eps,
                "maximize": maximize,
            },
        )

    def check(self, group: Group) -> None:
        for option in ("lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps"):
            self.require(group, option)

    def start(self, p: Tensor, group: Group) -> State:
        xp = backend_of(p.data).xp
        return {"step": 0, "sum": xp.full_like(p.data, group["initial_accumulator_value"])}

    def update(
        self, backend: Backend, group: Group, at: State, params: Arrays, grads: Arrays, *state: Any
    ) -> tuple[Any, ...]:
        rate = group["lr"] / (1 + (at["step"] - 1) * group["lr_decay"])
        (sums,) = state
        return backend.adagrad_(params, grads, sums, rules.Adagrad.of(group, lr=rate))


class RMSprop(Optimizer):
    """RMSprop (Hinton's lectures; Xu 5.11-5.12): Adagrad with a memory that fades.

        g = ∂L/∂p + λ p
        s = α s + (1-α) g²
        p = p - lr g / (√s + ε)

    The defaults are PyTorch's, lr 0.01 and α 0.99; Hinton and the lecture notes have 0.001 and 0.9,
    and Xu α 0.9.  ε stands outside of the root, as in Xu's code, not inside as in 5.12.

    Args:
        params: parameters, or groups of them (see `Optimizer`).
        lr: the learning rate.
        alpha: α, how much of s is kept.
        eps: ε.
        weight_decay: λ.
        momentum: μ; with it, v = μ v + g / (√s + ε) and p = p - lr v.
        centered: the variance s - a², with a = α a + (1-α) g, takes the place of s (Graves 2013).
        maximize: climb instead of descend.

    Raises:
        ValueError: one of these numbers is below 0.
    """

    slots = ("square_avg", "grad_avg", "momentum_buffer")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "alpha": alpha,
                "eps": eps,
                "weight_decay": weight_decay,
                "momentum": momentum,
                "centered": centered,
                "maximize": maximize,
            },
        )

    def check(self, group: Group) -> None:
        for option in ("lr", "alpha", "eps", "weight_decay", "momentum"):
            self.require(group, option)

    def start(self, p: Tensor, group: Group) -> State:
        state = {"step": 0, "square_avg": zeros_like(p)}
        if group["momentum"]:
            state["momentum_buffer"] = zeros_like(p)
        if group["centered"]:
            state["grad_avg"] = zeros_like(p)
        return state

    def update(
        self, backend: Backend, group: Group, at: State, params: Arrays, grads: Arrays, *state: Any
    ) -> tuple[Any, ...]:
        squares, averages, buffers = state
        return backend.rmsprop_(params, grads, squares, averages, buffers, rules.RMSprop.of(group))


class Rprop(Optimizer):
    """Rprop (Riedmiller and Braun 1993): steps by the gradient's sign alone, as PyTorch has it.

        s = s η⁺  where g has the sign that it had before       s: a size for each weight, from lr
        s = s η⁻  where it has the other, and g = 0 there        at first
        p = p - sign(g) s

    s stays between the two `step_sizes`.  After a turn the weight stands still for one step.  For
    gradients over all samples: those of a few turn by chance.

    Args:
        params: parameters, or groups of them (see `Optimizer`).
        lr: s at first.
        etas: (η⁻, η⁺), below and above 1.
        step_sizes: the smallest and the largest s.
        maximize: climb instead of descend.

    Raises:
        ValueError: lr below 0, or etas not below and above 1.
    """

    slots = ("prev", "step_size")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50.0),
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "etas": etas, "step_sizes": step_sizes, "maximize": maximize}
        )

    def check(self, group: Group) -> None:
        self.require(group, "lr")
        down, up = group["etas"]
        if not 0 < down < 1 < up:
            raise ValueError(f"Rprop: etas must be below and above 1, got {group['etas']}")

    def start(self, p: Tensor, group: Group) -> State:
        xp = backend_of(p.data).xp
        sizes = xp.full_like(p.data, group["lr"])
        return {"step": 0, "prev": zeros_like(p), "step_size": sizes}

    def update(
        self, backend: Backend, group: Group, at: State, params: Arrays, grads: Arrays, *state: Any
    ) -> tuple[Any, ...]:
        before, sizes = state
        return backend.rprop_(params, grads, before, sizes, rules.Rprop.of(group))


class Adadelta(Optimizer):
    """Adadelta (Zeiler 2012; Xu 5.13-5.17): steps measured by the steps before.

        g = ∂L/∂p + λ p
        s = ρ s + (1-ρ) g²
        δ = g √(d + ε) / √(s + ε)
        d = ρ d + (1-ρ) δ²
        p = p - lr δ

    Both roots are in the units that g and p have, so δ has the units of p whatever those are.

    Args:
        params: parameters, or groups of them (see `Optimizer`).
        lr: a factor for all steps; 1 is the paper's, and the textbook's.
        rho: ρ, at least 0 and less than 1: how much of s and d is kept.
        eps: ε; the first step of every weight is about √(ε / (1-ρ)) long.
        weight_decay: λ.
        maximize: climb instead of descend.

    Raises:
        ValueError: lr, eps or weight_decay below 0, or rho out of its range.
    """

    slots = ("square_avg", "acc_delta")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize},
        )

    def check(self, group: Group) -> None:
        for option in ("lr", "eps", "weight_decay"):
            self.require(group, option)
        self.require(group, "rho", below=1.0)

    def start(self, p: Tensor, group: Group) -> State:
        return {"step": 0, "square_avg": zeros_like(p), "acc_delta": zeros_like(p)}

    def update(
        self, backend: Backend, group: Group, at: State, params: Arrays, grads: Arrays, *state: Any
    ) -> tuple[Any, ...]:
        squares, deltas = state
        return backend.adadelta_(params, grads, squares, deltas, rules.Adadelta.of(group))
