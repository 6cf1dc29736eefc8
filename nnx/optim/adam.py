"""Adam and its relatives: a running mean of the gradient, scaled by one of its square."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from ..backends import Backend, backend_of
from ..backends.portable import optim_rules as rules
from ..tensor import Tensor
from .optimizer import Arrays, Group, Optimizer, State, in_float32, zeros_like


class _Moments(Optimizer):
    """What the family shares: its options, and two running averages per parameter."""

    slots: ClassVar[tuple[str, ...]] = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
        maximize: bool,
        **more: Any,
    ) -> None:
        options = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, **more}
        super().__init__(params, {**options, "maximize": maximize})

    def check(self, group: Group) -> None:
        for option in ("lr", "eps", "weight_decay"):
            self.require(group, option)
        if not all(0 <= beta < 1 for beta in group["betas"]):
            raise ValueError(
                f"{type(self).__name__}: betas must be at least 0 and less than 1, "
                f"got {group['betas']}"
            )

    def start(self, p: Tensor, group: Group) -> State:
        return {"step": 0, "exp_avg": zeros_like(p), "exp_avg_sq": zeros_like(p)}


class Adam(_Moments):
    """Adam (Kingma and Ba 2015; Xu 5.18-5.22).

        g = ∂L/∂p + λ p                                        λ: weight_decay
        m = β1 m + (1-β1) g        m̂ = m / (1 - β1^t)
        s = β2 s + (1-β2) g²       ŝ = s / (1 - β2^t)
        p = p - lr m̂ / (√ŝ + ε)

    m and s start from zero, so after t steps of gradients of one size g they are (1 - β1^t) g and
    (1 - β2^t) g²; the divisions undo that bias.  (The lecture notes' Adam has m and s in their
    place, without correction, and 0.9999 as an example of β2, whose default is 0.999 here.)  t
    counts each parameter's own steps, from 1: the first step of every weight is lr long.

    Args:
        params: parameters, or groups of them (see `Optimizer`).
        lr: the learning rate.
        betas: (β1, β2), at least 0 and less than 1: how much of the two means is kept.
        eps: ε, added outside of the root, after the bias was undone.
        weight_decay: λ; here part of g, in `AdamW` decoupled.
        amsgrad: the largest s so far takes the place of s (Reddi et al. 2018).
        maximize: climb instead of descend.

    Raises:
        ValueError: lr, eps or weight_decay below 0, or betas out of their range.
    """

    slots = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")
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
        super().__init__(params, lr, betas, eps, weight_decay, maximize, amsgrad=amsgrad)

    def start(self, p: Tensor, group: Group) -> State:
        state = super().start(p, group)
        if group["amsgrad"]:
            state["max_exp_avg_sq"] = zeros_like(p)
        return state

    @property
    def skips_on_device(self) -> bool:
        return True

    def count_on_device(self) -> None:
        self.counts_on_device = True

    def advance(self, group: Group, states: list[State]) -> None:
        if not self.counts_on_device:
            super().advance(group, states)
            return
        step, average = states[0]["step"], states[0]["exp_avg"]
        home = backend_of(average)
        xp = home.xp
        if not hasattr(step, "dtype"):
            step = xp.asarray(home.from_numpy(np.asarray(step, np.int64)), device=average.device)
        elif sum(state["step"] is step for state in self.state.values()) > len(states):
            step = xp.asarray(step, copy=True)  # some that counted along have no gradient today
        step = xp.asarray(home.count_step_(step, group.get("skip")))
        for state in states:
            state["step"] = step

    def update(
        self, backend: Backend, group: Group, at: State, params: Arrays, grads: Arrays, *state: Any
    ) -> tuple[Any, ...]:
        rule = rules.Adam.of(group, step=at["step"], decoupled=self.decoupled)
        averages, squares, maxima = state
        return backend.adam_(params, grads, averages, squares, maxima, rule)


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019).

    Before Adam's step with g = ∂L/∂p, the weights shrink: p = p - lr λ p.  In Adam itself, λ p is
    part of g and is divided by √ŝ like the rest.

    Args:
        params: parameters, or groups of them (see `Optimizer`).
        lr: the learning rate.
        betas: (β1, β2), as in `Adam`.
        eps: ε, as there.
        weight_decay: λ; 0.01 by default, where Adam has 0.
        amsgrad: the largest s so far takes the place of s.
        maximize: climb instead of descend.

    Raises:
        ValueError: lr, eps or weight_decay below 0, or betas out of their range.
    """

    decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)


class NAdam(_Moments):
    """Adam with Nesterov's momentum (Dozat 2016), as PyTorch defines it.

        μ(t) = β1 (1 - 0.96^(ψ t) / 2)             ψ: momentum_decay
        Π = μ(1) ... μ(t)
        p = p - lr ((1 - μ(t)) g / (1 - Π) + μ(t+1) m / (1 - Π μ(t+1))) / (√ŝ + ε)

    with `Adam`'s g, m and ŝ.  Π is kept in float32 also where the parameters are float64, because
    PyTorch does (in its default dtype): in float64 that moves the first steps by 1e-7 of their
    length, and a run can go on from PyTorch's state.

    Args:
        params: parameters, or groups of them (see `Optimizer`).
        lr: the learning rate.
        betas: (β1, β2), at least 0 and less than 1.
        eps: ε.
        weight_decay: λ.
        momentum_decay: ψ, at least 0; 0 is a momentum of β1/2 from the first step to the last.
        decoupled_weight_decay: shrink p by lr λ p, as `AdamW` does, instead of adding λ p to g.
        maximize: climb instead of descend.

    Raises:
        ValueError: lr, eps, weight_decay or momentum_decay below 0, or betas out of their range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            maximize,
            momentum_decay=momentum_decay,
            decoupled_weight_decay=decoupled_weight_decay,
        )

    def check(self, group: Group) -> None:
        super().check(group)
        self.require(group, "momentum_decay")

    def momentum(self, group: Group, step: int) -> float:
        """μ(t) of a `group`'s options, for t = step."""
        beta: float = group["betas"][0]
        shrunk: float = 0.96 ** (step * group["momentum_decay"])
        return beta * (1 - 0.5 * shrunk)

    def start(self, p: Tensor, group: Group) -> State:
        return {**super().start(p, group), "mu_product": 1.0}

    def progress(self, state: State) -> Any:
        return state["step"], state["mu_product"]

    def advance(self, group: Group, states: list[State]) -> None:
        super().advance(group, states)
        for state in states:
            factor = in_float32(self.momentum(group, state["step"]))
            state["mu_product"] = in_float32(state["mu_product"] * factor)

    def update(
        self, backend: Backend, group: Group, at: State, params: Arrays, grads: Arrays, *state: Any
    ) -> tuple[Any, ...]:
        lr, step, product = group["lr"], at["step"], at["mu_product"]
        now, after = self.momentum(group, step), self.momentum(group, step + 1)
        rule = rules.NAdam.of(
            group,
            step=step,
            decoupled=group["decoupled_weight_decay"],
            gradient_rate=lr * (1 - now) / (1 - product),
            average_rate=lr * after / (1 - product * after),
        )
        averages, squares = state
        return backend.nadam_(params, grads, averages, squares, rule)


class RAdam(_Moments):
    """Rectified Adam (Liu et al. 2020): plain momentum until s is worth trusting.

        ρ∞ = 2 / (1-β2) - 1        ρ = ρ∞ - 2 t β2^t / (1 - β2^t)
        r = √((ρ-4)(ρ-2) ρ∞ / ((ρ∞-4)(ρ∞-2) ρ))
        p = p - lr m̂ r √(1 - β2^t) / (√s + ε)  where ρ > 5,  p - lr m̂  before

    with `Adam`'s m̂ and s.

    Args:
        params: parameters, or groups of them (see `Optimizer`).
        lr: the learning rate.
        betas: (β1, β2), at least 0 and less than 1.
        eps: ε.
        weight_decay: λ.
        decoupled_weight_decay: shrink p by lr λ p, as `AdamW` does, instead of adding λ p to g.
        maximize: climb instead of descend.

    Raises:
        ValueError: lr, eps or weight_decay below 0, or betas out of their range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            maximize,
            decoupled_weight_decay=decoupled_weight_decay,
        )

    def update(
        self, backend: Backend, group: Group, at: State, params: Arrays, grads: Arrays, *state: Any
    ) -> tuple[Any, ...]:
        lr, (beta1, beta2), step = group["lr"], group["betas"], at["step"]
        rate, scale = lr / (1 - beta1**step), 1 - beta2**step
        last = 2 / (1 - beta2) - 1
        rho = last - 2 * step * beta2**step / scale
        adaptive = 0.0
        if rho > 5:
            r = (rho - 4) * (rho - 2) * last / ((last - 4) * (last - 2) * rho)
            adaptive = rate * math.sqrt(r * scale)
        rule = rules.RAdam.of(
            group,
            decoupled=group["decoupled_weight_decay"],
            average_rate=rate,
            adaptive_rate=adaptive,
        )
        averages, squares = state
        return backend.radam_(params, grads, averages, squares, rule)


class Adamax(_Moments):
    """Adam with the largest gradient, of a fading memory, for √s (Kingma and Ba 2015, section 7).

        m = β1 m + (1-β1) g
        u = max(β2 u, |g| + ε)
        p = p - lr / (1 - β1^t) m / u

    Args:
        params: parameters, or groups of them (see `Optimizer`).
        lr: the learning rate.
        betas: (β1, β2), at least 0 and less than 1.
        eps: ε, which keeps u from 0.
        weight_decay: λ; λ p is part of g.
        maximize: climb instead of descend.

    Raises:
        ValueError: lr, eps or weight_decay below 0, or betas out of their range.
    """

    slots = ("exp_avg", "exp_inf")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, maximize)

    def start(self, p: Tensor, group: Group) -> State:
        return {"step": 0, "exp_avg": zeros_like(p), "exp_inf": zeros_like(p)}

    def update(
        self, backend: Backend, group: Group, at: State, params: Arrays, grads: Arrays, *state: Any
    ) -> tuple[Any, ...]:
        rate = group["lr"] / (1 - group["betas"][0] ** at["step"])
        averages, norms = state
        return backend.adamax_(params, grads, averages, norms, rules.Adamax.of(group, lr=rate))
