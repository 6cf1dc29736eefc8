"""`LRScheduler`: what all schedules of the learning rate share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..optimizer import Optimizer


class LRScheduler:
    """Base of the schedules that are a function of time alone.

        scheduler = lr_scheduler.StepLR(optimizer, step_size=30)
        for epoch in range(100):
            train(...)              # optimizer.step() many times
            scheduler.step()

    A subclass says in `rate(base, t)` what the learning rate is after t steps of the schedule, in
    closed form; base is what the group had when the first schedule was made.  Making a schedule
    sets t = 0, and every `step()` adds 1.

    If a rate is not the one this schedule left, another schedule or the user has changed it: that
    change is kept, as a factor.  So schedules of one optimizer may be combined by stepping both,
    as in PyTorch.

    Args:
        optimizer: its groups' "lr" is what changes.
        last_epoch: start at t = last_epoch + 1 instead; the groups must then hold "initial_lr", as
            they do in the state of an optimizer that had a schedule.

    Raises:
        TypeError: optimizer is no Optimizer.
        ValueError: last_epoch is given, and a group has no "initial_lr".
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        require_optimizer(self, optimizer)
        self.optimizer = optimizer
        for k, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise ValueError(
                    f"{type(self).__name__}: last_epoch={last_epoch} needs 'initial_lr' in every "
                    f"group; group {k} has {sorted(group.keys() - {'params'})}"
                )
        self.base_lrs: list[float] = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._left = list(self.base_lrs)
        if last_epoch != -1:
            self._left = [group["lr"] for group in optimizer.param_groups]
        self.step()

    def rate(self, base: float, t: int) -> float:
        """The learning rate after t steps, of a group that began with `base`."""
        raise NotImplementedError(f"{type(self).__name__}.rate")

    def rates(self, t: int) -> list[float]:
        """The learning rate of each group after t steps."""
        return [self.rate(base, t) for base in self.base_lrs]

    def step(self) -> None:
        """One step on: to be called after the optimizer's, once per epoch or once per batch."""
        self.last_epoch += 1
        self._move(self.rates(self.last_epoch))
        self.cycle(self.last_epoch)

    def _move(self, rates: list[float]) -> None:
        """From the rates that this schedule left to new ones, with what others changed."""
        for group, left, new in zip(self.optimizer.param_groups, self._left, rates, strict=True):
            now = group["lr"]
            group["lr"] = new if now == left or left == 0 else now * (new / left)
        self._left = rates

    def cycle(self, t: int) -> None:
        """Set what else of the groups a schedule decides, as it is after t steps: a momentum."""

    def get_last_lr(self) -> list[float]:
        """The learning rate of each group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """How far the schedule is, as plain numbers; its options are the constructor's."""
        return {
            "last_epoch": self.last_epoch,
            "base_lrs": list(self.base_lrs),
            "rates": list(self._left),
            "lr": self.get_last_lr(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where `state_dict()` was taken, with the rates that were in use then.

        Where this schedule was made for another plan (more epochs, another milestone), the rates
        are those of the new plan at the same time.

        The optimizer's own state is to be loaded too, before this or after, and before the
        schedule is made or after: making it sets the rates of its t = 0, and this undoes that.

        Args:
            state: what `state_dict()` returned, here or in a file.

        Raises:
            ValueError: the state is of an optimizer with more or fewer groups.
        """
        self._check(state)
        self._restore(state)
        self._replan()

    def _check(self, state: Mapping[str, Any]) -> None:
        if len(state["base_lrs"]) != len(self.base_lrs):
            raise ValueError(
                f"{type(self).__name__}.load_state_dict: the state has "
                f"{len(state['base_lrs'])} groups, the optimizer {len(self.base_lrs)}"
            )

    def _restore(self, state: Mapping[str, Any]) -> None:
        """Be as the schedule that gave the state, with the rates in use then."""
        self.last_epoch = state["last_epoch"]
        self.base_lrs = list(state["base_lrs"])
        self._left = list(state["rates"])
        in_use = state.get("lr", self._left)  # older states have no other schedule beside them
        for group, now in zip(self.optimizer.param_groups, in_use, strict=True):
            group["lr"] = now

    def _replan(self) -> None:
        """From the rates of the plan that was restored to those of this one, at the same time."""
        rates = self.rates(self.last_epoch)
        if rates != self._left:
            self._move(rates)
        self.cycle(self.last_epoch)

    def __repr__(self) -> str:
        rates = ", ".join(f"{rate:g}" for rate in self.get_last_lr())
        return f"{type(self).__name__}(last_epoch={self.last_epoch}, lr={rates})"


def require_optimizer(schedule: Any, optimizer: Any) -> None:
    """Raise TypeError unless a schedule was given an optimizer."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(
            f"{type(schedule).__name__}: expected an Optimizer, got {type(optimizer).__name__}: "
            f"{optimizer!r}"
        )


def require_same_optimizer(schedule: Any, optimizer: Any, schedulers: Sequence[Any]) -> None:
    """Raise TypeError unless all schedules follow time alone, ValueError unless one optimizer's."""
    name = type(schedule).__name__
    for inner in schedulers:
        if not isinstance(inner, LRScheduler):
            raise TypeError(
                f"{name}: expected schedulers that are functions of time, got "
                f"{type(inner).__name__}: {inner!r}"
            )
    require_optimizer(schedule, optimizer)
    if any(inner.optimizer is not optimizer for inner in schedulers):
        raise ValueError(f"{name}: the schedulers must be of the same optimizer")


def require_positive(schedule: LRScheduler, **values: float) -> None:
    """Raise ValueError naming the first of the arguments that is not positive."""
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{type(schedule).__name__}: {name} must be positive, got {value}")
