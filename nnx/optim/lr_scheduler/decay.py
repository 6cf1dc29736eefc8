"""Schedules that lower the rate, or raise it at the beginning (warm-up), once."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence

from ..optimizer import Optimizer
from .scheduler import LRScheduler, require_optimizer, require_positive

Factor = Callable[[int], float]


class LambdaLR(LRScheduler):
    """lr = base f(t), with a function of one's own, or one for each group.

    Args:
        optimizer: whose rate it is.
        lr_lambda: f, from the number of steps t to a factor; or a list, one for each group.
        last_epoch: start at t = last_epoch + 1, as in `LRScheduler`.

    Raises:
        TypeError: optimizer is no Optimizer.
        ValueError: there are not as many functions as groups.
    """

    def __init__(
        self, optimizer: Optimizer, lr_lambda: Factor | Sequence[Factor], last_epoch: int = -1
    ) -> None:
        require_optimizer(self, optimizer)
        groups = len(optimizer.param_groups)
        self.factors = [lr_lambda] * groups if callable(lr_lambda) else list(lr_lambda)
        if len(self.factors) != groups:
            raise ValueError(
                f"{type(self).__name__}: {len(self.factors)} functions for {groups} groups"
            )
        super().__init__(optimizer, last_epoch)

    def rates(self, t: int) -> list[float]:
        return [base * f(t) for base, f in zip(self.base_lrs, self.factors, strict=True)]


class MultiplicativeLR(LambdaLR):
    """lr = base f(1) f(2) … f(t): each step multiplies by a function's value, or by one for each
    group.

    Args:
        optimizer: whose rate it is.
        lr_lambda: f, from the number of steps to a factor; or a list, one for each group.  It is
            asked again for all steps where a schedule goes on from a state: its answers must not
            change.
        last_epoch: start at t = last_epoch + 1, as in `LRScheduler`.

    Raises:
        TypeError: optimizer is no Optimizer.
        ValueError: there are not as many functions as groups.
    """

    _reached: tuple[int, list[float], list[float]] = (0, [], [])  # t, from which rates, to which

    def rates(self, t: int) -> list[float]:
        at, base, rates = self._reached
        if at > t or base != self.base_lrs:
            at, rates = 0, self.base_lrs
        for k in range(at + 1, t + 1):
            rates = [rate * f(k) for rate, f in zip(rates, self.factors, strict=True)]
        self._reached = t, list(self.base_lrs), rates
        return list(rates)


class StepLR(LRScheduler):
    """lr = base γ^(t // step_size): lower by the factor γ every `step_size` steps.

    (Xu section 5.5 on falling rates.)

    Args:
        optimizer: whose rate it is.
        step_size: steps from one fall to the next.
        gamma: γ.
        last_epoch: start at t = last_epoch + 1, as in `LRScheduler`.

    Raises:
        ValueError: step_size is not positive.
    """

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        require_positive(self, step_size=step_size)
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, t: int) -> float:
        return base * self.gamma ** (t // self.step_size)


class MultiStepLR(LRScheduler):
    """lr = base γ^k, where k milestones have been reached.

    Args:
        optimizer: whose rate it is.
        milestones: numbers of steps, in any order; one that is named twice counts twice.
        gamma: γ.
        last_epoch: start at t = last_epoch + 1, as in `LRScheduler`.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Iterable[int],
        gamma: float = 0.1,
        last_epoch: int = -1,
    ) -> None:
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, t: int) -> float:
        return base * self.gamma ** bisect_right(self.milestones, t)


class ExponentialLR(LRScheduler):
    """lr = base γ^t.

    Args:
        optimizer: whose rate it is.
        gamma: γ.
        last_epoch: start at t = last_epoch + 1, as in `LRScheduler`.
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, t: int) -> float:
        return base * self.gamma**t


class ConstantLR(LRScheduler):
    """lr = base · factor for the first `total_iters` steps, base after.

    Args:
        optimizer: whose rate it is.
        factor: of those steps.
        total_iters: how many there are.
        last_epoch: start at t = last_epoch + 1, as in `LRScheduler`.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        factor: float = 1 / 3,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        self.factor, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, t: int) -> float:
        return base * self.factor if t < self.total_iters else base


class LinearLR(LRScheduler):
    """From base · start_factor in a straight line to base · end_factor, in `total_iters` steps.

    Warm-up, as it stands (Goyal et al. 2017); combine it with another schedule by `SequentialLR`.

    Args:
        optimizer: whose rate it is.
        start_factor: at t = 0; positive.
        end_factor: from t = total_iters on.
        total_iters: how many steps it takes.
        last_epoch: start at t = last_epoch + 1, as in `LRScheduler`.

    Raises:
        ValueError: start_factor is not positive.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        require_positive(self, start_factor=start_factor)
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, t: int) -> float:
        if t >= self.total_iters:
            return base * self.end_factor
        share = t / self.total_iters
        return base * (self.start_factor + (self.end_factor - self.start_factor) * share)


class PolynomialLR(LRScheduler):
    """lr = base (1 - t / total_iters)^power, and 0 from there on.

    Args:
        optimizer: whose rate it is.
        total_iters: the step at which it is 0.
        power: 1 is a straight line.
        last_epoch: start at t = last_epoch + 1, as in `LRScheduler`.

    Raises:
        ValueError: total_iters is not positive.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        total_iters: int = 5,
        power: float = 1.0,
        last_epoch: int = -1,
    ) -> None:
        require_positive(self, total_iters=total_iters)
        self.total_iters, self.power = total_iters, power
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, t: int) -> float:
        share: float = (1 - min(t, self.total_iters) / self.total_iters) ** self.power
        return base * share


class CosineAnnealingLR(LRScheduler):
    """lr = η + (base - η) (1 + cos(π t / T_max)) / 2, with η = eta_min.

    Half a wave down in T_max steps (Loshchilov and Hutter 2017), and up again in the next T_max.

    Args:
        optimizer: whose rate it is.
        T_max: steps from the highest rate to the lowest.
        eta_min: η, the lowest rate.
        last_epoch: start at t = last_epoch + 1, as in `LRScheduler`.

    Raises:
        ValueError: T_max is not positive.
    """

    def __init__(
        self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        require_positive(self, T_max=T_max)
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, t: int) -> float:
        return self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * t / self.T_max)) / 2
