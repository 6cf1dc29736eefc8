"""Schedules that go up and down: cycles, restarts, and the one-cycle policy."""

from __future__ import annotations

import math
from typing import Any

from ..optimizer import Group, Optimizer
from .scheduler import LRScheduler, require_optimizer, require_positive


class CosineAnnealingWarmRestarts(LRScheduler):
    """Cosines down to η = eta_min, one after another (Loshchilov and Hutter 2017).

        lr = η + (base - η) (1 + cos(π s / T)) / 2

    where s counts the steps since the last restart and the k-th cosine, from 0, has T = T_0 ·
    T_mult^k.

    Args:
        optimizer: whose rate it is.
        T_0: the length of the first cosine, in steps.
        T_mult: how many times as long as the one before each is.
        eta_min: η, the lowest rate.
        last_epoch: start at t = last_epoch + 1, as in `LRScheduler`.

    Raises:
        ValueError: T_0 or T_mult is not positive.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,
        T_mult: int = 1,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        require_positive(self, T_0=T_0, T_mult=T_mult)
        self.T_0, self.T_mult, self.eta_min = T_0, T_mult, eta_min
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, t: int) -> float:
        length = self.T_0
        while t >= length and self.T_mult > 1:
            t, length = t - length, length * self.T_mult
        share = t % length / length
        return self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * share)) / 2


class CyclicLR(LRScheduler):
    """Up from base_lr to max_lr and down again, over and over (Smith 2017); step it every batch.

    Args:
        optimizer: whose rate it is, and whose momentum.
        base_lr: the lowest rate, or one for each group.
        max_lr: the highest, likewise.
        step_size_up: steps from base_lr to max_lr.
        step_size_down: steps back; as many as up where left out.
        mode: "triangular"; "triangular2", where each cycle is half as high as the one before; or
            "exp_range", where the height is multiplied by `gamma` at every step.
        gamma: for "exp_range".
        cycle_momentum: whether the momentum (of Adam, β1) goes from max_momentum down to
            base_momentum and up again, against the rate.
        base_momentum: the lowest.
        max_momentum: the highest.
        last_epoch: start at t = last_epoch + 1, as in `LRScheduler`.

    Raises:
        TypeError: optimizer is no Optimizer.
        ValueError: an unknown mode, step_size_up not positive, not as many rates as groups, or an
            optimizer that has no momentum to cycle.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | list[float],
        max_lr: float | list[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        cycle_momentum: bool = True,
        base_momentum: float = 0.8,
        max_momentum: float = 0.9,
        last_epoch: int = -1,
    ) -> None:
        if mode not in ("triangular", "triangular2", "exp_range"):
            raise ValueError(
                f'CyclicLR: mode must be "triangular", "triangular2" or "exp_range", got {mode!r}'
            )
        require_positive(self, step_size_up=step_size_up)
        self.up = step_size_up
        self.length = step_size_up + (step_size_up if step_size_down is None else step_size_down)
        self.mode, self.gamma, self.cycle_momentum = mode, gamma, cycle_momentum
        self.base_momentum, self.max_momentum = base_momentum, max_momentum
        self.max_lrs = _per_group(self, optimizer, "max_lr", max_lr)
        if cycle_momentum:
            _require_momentum(self, optimizer)
        if last_epoch == -1:
            for group, low in zip(
                optimizer.param_groups, _per_group(self, optimizer, "base_lr", base_lr), strict=True
            ):
                group["lr"] = group["initial_lr"] = low
        super().__init__(optimizer, last_epoch)

    def height(self, t: int) -> float:
        """Where between 0 (base_lr) and 1 (max_lr) the rate is at t."""
        cycle, s = divmod(t, self.length)
        h = s / self.up if s <= self.up else (self.length - s) / (self.length - self.up)
        if self.mode == "triangular2":
            h /= 2**cycle
        damped: float = self.gamma**t if self.mode == "exp_range" else 1.0
        return h * damped

    def rates(self, t: int) -> list[float]:
        h = self.height(t)
        return [
            low + (high - low) * h for low, high in zip(self.base_lrs, self.max_lrs, strict=True)
        ]

    def cycle(self, t: int) -> None:
        if self.cycle_momentum:
            span = self.max_momentum - self.base_momentum
            for group in self.optimizer.param_groups:
                _set_momentum(group, self.max_momentum - span * self.height(t))


class OneCycleLR(LRScheduler):
    """One cycle over the whole training (Smith and Topin 2018); step it every batch.

    The rate goes from max_lr / div_factor up to max_lr in the first `pct_start` of the steps, and
    then down to 1 / final_div_factor of where it began; with `three_phase` first back to where it
    began, as fast as it rose.  The momentum (of Adam, β1) goes the other way.

    Args:
        optimizer: whose rate it is, and whose momentum.
        max_lr: the highest rate, or one for each group.
        total_steps: how many steps there will be; or give `epochs` and `steps_per_epoch`.
        epochs, steps_per_epoch: their product is the number of steps.
        pct_start: the share of the steps in which the rate rises, 0 to 1 (not a percentage).
        anneal_strategy: "cos" or "linear".
        cycle_momentum: False leaves the momentum alone.
        base_momentum: the momentum where the rate is highest.
        max_momentum: the momentum at the beginning and at the end.
        div_factor: max_lr over the rate at the beginning.
        final_div_factor: the rate at the beginning over the one at the end.
        three_phase: whether there are three parts instead of two.
        last_epoch: start at t = last_epoch + 1, as in `LRScheduler`.

    Raises:
        TypeError: optimizer is no Optimizer.
        ValueError: no number of steps, or none that is positive; an unknown strategy; a pct_start
            outside [0, 1]; not as many rates as groups; an optimizer that has no momentum to cycle.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError("OneCycleLR: give total_steps, or epochs and steps_per_epoch")
            total_steps = epochs * steps_per_epoch
        require_positive(self, total_steps=total_steps)
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f'OneCycleLR: anneal_strategy must be "cos" or "linear", got {anneal_strategy!r}'
            )
        if not 0 <= pct_start <= 1:
            raise ValueError(f"OneCycleLR: pct_start must be between 0 and 1, got {pct_start}")
        self.total_steps, self.linear = total_steps, anneal_strategy == "linear"
        self.cycle_momentum = cycle_momentum
        self.momenta = max_momentum, base_momentum
        self.max_lrs = _per_group(self, optimizer, "max_lr", max_lr)
        self.div_factor, self.final_div_factor = div_factor, final_div_factor
        # Where each phase ends, and at which of (first, highest, last rate) it begins and ends.
        peak, last = pct_start * total_steps - 1, total_steps - 1
        self.phases = [(peak, 0, 1), (last, 1, 2)]
        if three_phase:
            self.phases = [(peak, 0, 1), (2 * pct_start * total_steps - 2, 1, 0), (last, 0, 2)]
        if cycle_momentum:
            _require_momentum(self, optimizer)
        if last_epoch == -1:
            for group, high in zip(optimizer.param_groups, self.max_lrs, strict=True):
                group["lr"] = group["initial_lr"] = high / div_factor
        super().__init__(optimizer, last_epoch)

    def phase(self, t: int) -> tuple[int, int, float]:
        """At t: between which two stations, and how far (0 to 1).

        Raises:
            ValueError: the cycle was made for fewer steps than t.
        """
        if t > self.total_steps:
            raise ValueError(
                f"OneCycleLR: step {t}, but the cycle was made for {self.total_steps} steps"
            )
        k = 0
        while k < len(self.phases) - 1 and t > self.phases[k][0]:
            k += 1
        end, first, second = self.phases[k]
        begin = self.phases[k - 1][0] if k else 0.0
        return first, second, (t - begin) / (end - begin) if end > begin else 1.0

    def between(self, a: float, b: float, share: float) -> float:
        """From a (share 0) to b (share 1), in a straight line or half a cosine."""
        if self.linear:
            return a + (b - a) * share
        return b + (a - b) * (1 + math.cos(math.pi * share)) / 2

    def rates(self, t: int) -> list[float]:
        first, second, share = self.phase(t)
        rates = []
        for low, high in zip(self.base_lrs, self.max_lrs, strict=True):
            stations = low, high, low / self.final_div_factor
            rates.append(self.between(stations[first], stations[second], share))
        return rates

    def cycle(self, t: int) -> None:
        if self.cycle_momentum:
            first, second, share = self.phase(t)
            high, low = self.momenta
            stations = high, low, high
            for group in self.optimizer.param_groups:
                _set_momentum(group, self.between(stations[first], stations[second], share))


def _per_group(schedule: LRScheduler, optimizer: Optimizer, name: str, value: Any) -> list[float]:
    require_optimizer(schedule, optimizer)
    groups = len(optimizer.param_groups)
    values = list(value) if isinstance(value, list | tuple) else [value] * groups
    if len(values) != groups:
        raise ValueError(f"{name}: {len(values)} values for {groups} groups")
    return values


def _require_momentum(schedule: LRScheduler, optimizer: Optimizer) -> None:
    if not {"momentum", "betas"} & optimizer.defaults.keys():
        raise ValueError(
            f"{type(schedule).__name__}: {type(optimizer).__name__} has no momentum to cycle; "
            "pass cycle_momentum=False"
        )


def _set_momentum(group: Group, momentum: float) -> None:
    if "betas" in group:
        group["betas"] = (momentum, *group["betas"][1:])
    else:
        group["momentum"] = momentum
